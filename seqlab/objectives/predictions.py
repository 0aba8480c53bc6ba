"""Losses of regression and classification models, which compute a score for each number, class or label.

Shapes: B examples, K numbers, classes or labels.
"""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from seqlab.base.bounds import Positive
from seqlab.data.batch import IGNORE, ValueBatch
from seqlab.models.interfaces import Predictor
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext


class PredictionLossConfig(ObjectiveConfig):
    """Base class of the configs of these losses."""

    outputs: ClassVar[str] = "scores"
    tasks: ClassVar[tuple[str, ...]] = ("prediction",)
    needs: ClassVar[tuple[type, ...]] = (Predictor,)
    predicts: ClassVar[str]
    """Kind of targets: value of `data.predicts`."""
    family: str

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each target (B, K), or of each example (B,).

        scores (B, K) are in fp32; targets are (B, K), or class numbers (B,).
        """
        raise NotImplementedError

    def build(self) -> "PredictionLoss":
        """Build the objective."""
        return PredictionLoss(self.loss)

    def check(self, config: Any) -> None:
        """Raise ValueError if the loss does not fit the kind of targets."""
        if config.data.predicts != self.predicts:
            fitting = {"numbers": "squared_error", "class": "softmax", "labels": "sigmoid"}[config.data.predicts]
            raise ValueError(
                f"`objective.family: {self.family}` is for `data.predicts: {self.predicts}`, but `data.predicts` is "
                f"`{config.data.predicts}`: choose `{fitting}`."
            )


@plain_dataclass(frozen=True)
class PredictionLoss:
    """Sum a loss over all targets that are not missing."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, model: Any, batch: ValueBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: targets; K per example, or 1 if the target is a class (its number, or probabilities of all classes).
        """
        assert batch.targets is not None, "a loss needs targets"
        scores = model(batch).float()
        present = batch.targets != IGNORE if batch.targets.dtype == torch.int64 else ~batch.targets.isnan()
        losses = self.loss(scores, torch.where(present, batch.targets, 0))  # NaN targets would give NaN gradients
        present = present.all(1) if losses.dim() < present.dim() else present
        total = torch.where(present, losses, 0.0).sum()
        return Loss(total, present.sum().to(total))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SquaredErrorConfig(PredictionLossConfig):
    """Squared error, in standard deviations of the target."""

    family: Literal["squared_error"] = "squared_error"
    """Name of the objective."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return (scores - targets).square()


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AbsoluteErrorConfig(PredictionLossConfig):
    """Absolute error, in standard deviations of the target; less sensitive to outliers than squared error."""

    family: Literal["absolute_error"] = "absolute_error"
    """Name of the objective."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return (scores - targets).abs()


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class HuberConfig(PredictionLossConfig):
    """Huber loss: half the squared error where it is small, linear beyond `delta` (Huber 1964)."""

    family: Literal["huber"] = "huber"
    """Name of the objective."""
    delta: Positive = 1.0
    """Error from which the loss is linear, in standard deviations of the target."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(scores, targets, reduction="none", delta=self.delta)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SoftmaxConfig(PredictionLossConfig):
    """Cross entropy of one of several classes, with softmax probabilities.

    Targets are class numbers or probabilities of all classes (one-hot or mixed).
    """

    family: Literal["softmax"] = "softmax"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability mass that is taken from the target and spread uniformly over the classes."""
    predicts: ClassVar[str] = "class"
    tasks: ClassVar[tuple[str, ...]] = ("prediction", "recording_labels")

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(scores, targets, reduction="none", label_smoothing=self.label_smoothing)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SigmoidConfig(PredictionLossConfig):
    """Binary cross entropy of each of several labels, with sigmoid probabilities."""

    family: Literal["sigmoid"] = "sigmoid"
    """Name of the objective."""
    predicts: ClassVar[str] = "labels"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
