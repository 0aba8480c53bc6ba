"""Losses of models that give each example one score for each number, class or label.

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
    """The base of losses of scores."""

    outputs: ClassVar[str] = "scores"
    tasks: ClassVar[tuple[str, ...]] = ("prediction",)
    needs: ClassVar[tuple[type, ...]] = (Predictor,)
    predicts: ClassVar[str]
    """What the targets are: `data.predicts`."""
    family: str

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """scores (B, K) in fp32, targets (B, K) or (B,) -> the loss of each target, or of each example (B,)."""
        raise NotImplementedError

    def build(self) -> "PredictionLoss":
        """Build the objective."""
        return PredictionLoss(self.loss)

    def check(self, config: Any) -> None:
        """Raise ValueError where the targets are something else."""
        if config.data.predicts != self.predicts:
            fitting = {"numbers": "squared_error", "class": "softmax", "labels": "sigmoid"}[config.data.predicts]
            raise ValueError(
                f"`objective.family: {self.family}` is of {self.predicts}, but `data.predicts` is "
                f"`{config.data.predicts}`: choose `{fitting}`."
            )


@plain_dataclass(frozen=True)
class PredictionLoss:
    """Sum the loss over all targets that there are."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, model: Any, batch: ValueBatch, context: StepContext) -> Loss:
        """Unit: targets, K of each example, or one class (its number, or the probabilities of all)."""
        assert batch.targets is not None, "a loss needs targets"
        scores = model(batch).float()
        present = batch.targets != IGNORE if batch.targets.dtype == torch.int64 else ~batch.targets.isnan()
        losses = self.loss(scores, torch.where(present, batch.targets, 0))  # the gradient of NaN times 0 would be NaN
        present = present.all(1) if losses.dim() < present.dim() else present
        total = torch.where(present, losses, 0.0).sum()
        return Loss(total, present.sum().to(total))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SquaredErrorConfig(PredictionLossConfig):
    """The square of each error, in standard deviations of the target."""

    family: Literal["squared_error"] = "squared_error"
    """Which objective this is."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return (scores - targets).square()


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AbsoluteErrorConfig(PredictionLossConfig):
    """The size of each error, in standard deviations of the target: outliers count for less."""

    family: Literal["absolute_error"] = "absolute_error"
    """Which objective this is."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return (scores - targets).abs()


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class HuberConfig(PredictionLossConfig):
    """Half the square of small errors, and a straight line beyond (Huber 1964)."""

    family: Literal["huber"] = "huber"
    """Which objective this is."""
    delta: Positive = 1.0
    """The error, in standard deviations of the target, from which on the loss is a straight line."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(scores, targets, reduction="none", delta=self.delta)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SoftmaxConfig(PredictionLossConfig):
    """The cross entropy of one class of several, whose probabilities are the softmax of the scores.

    Targets are the numbers of the classes, or probabilities of all (one-hot, or mixed).
    """

    family: Literal["softmax"] = "softmax"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target's probability that is spread uniformly over the classes."""
    predicts: ClassVar[str] = "class"
    tasks: ClassVar[tuple[str, ...]] = ("prediction", "recording_labels")

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(scores, targets, reduction="none", label_smoothing=self.label_smoothing)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SigmoidConfig(PredictionLossConfig):
    """The binary cross entropy of each label, whose probability is the sigmoid of its score."""

    family: Literal["sigmoid"] = "sigmoid"
    """Which objective this is."""
    predicts: ClassVar[str] = "labels"

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
