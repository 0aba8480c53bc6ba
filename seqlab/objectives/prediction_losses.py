"""Losses of regression and classification models, which have one output for each number, class or label.

Shapes: B examples, O outputs (numbers, classes or labels).
"""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from seqlab.base.bounds import Positive
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, ValueBatch
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext, first_cross_entropy_range


@runtime_checkable
class Predictor(Protocol):
    """A model of numbers, classes or labels: O outputs for each example."""

    def __call__(self, batch: Any) -> Tensor:
        """Return (B, O): standardized numbers for regression, or logits of classes (softmax) or labels (sigmoid)."""
        ...


class PredictionLossConfig(ObjectiveConfig):
    """Base class of the configs of losses of regression and classification."""

    outputs: ClassVar[str] = "scores"
    tasks: ClassVar[tuple[str, ...]] = ("prediction",)
    needs: ClassVar[tuple[type, ...]] = (Predictor,)
    predicts: ClassVar[str]
    """Kind of targets that the loss is for: a value of `data.predicts`."""
    family: str

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each target (B, O), or of each example (B,).

        outputs (B, O) are in fp32; targets are (B, O), or class indices (B,).
        """
        raise NotImplementedError

    def build(self) -> "PredictionLoss":
        """Build the objective."""
        return PredictionLoss(self.loss)

    def check(self, config: Any) -> None:
        """Raise ValueError if the loss is for another kind of targets."""
        if config.data.predicts != self.predicts:
            fitting = {"numbers": "squared_error", "class": "softmax", "labels": "sigmoid"}[config.data.predicts]
            raise ValueError(
                f"`objective.family: {self.family}` is for `data.predicts: {self.predicts}`, but `data.predicts` is "
                f"`{config.data.predicts}`: choose `{fitting}`."
            )


@plain_dataclass(frozen=True)
class PredictionLoss:
    """Sum of a loss over all targets that are not missing."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, model: Any, batch: ValueBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: targets; O per example, or 1 if the target is a class (its index, or probabilities of all classes).
        """
        assert batch.targets is not None, "a loss needs targets"
        outputs = model(batch).float()
        present = batch.targets != IGNORE if batch.targets.dtype == torch.int64 else ~batch.targets.isnan()
        losses = self.loss(outputs, torch.where(present, batch.targets, 0))  # NaN targets would give NaN gradients
        present = present.all(1) if losses.dim() < present.dim() else present
        total = torch.where(present, losses, 0.0).sum()
        return Loss(total, present.sum().to(total))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SquaredErrorConfig(PredictionLossConfig):
    """Squared error, in standard deviations of the target."""

    family: Literal["squared_error"] = "squared_error"
    """Name of the objective."""
    predicts: ClassVar[str] = "numbers"

    def first_loss_range(self, num_outputs: int | None) -> tuple[float, float] | None:
        """Return a range above 1, the variance of standardized targets; few large ones may be absent from a batch."""
        return 0.0, 30.0

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square()


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AbsoluteErrorConfig(PredictionLossConfig):
    """Absolute error, in standard deviations of the target; less sensitive to outliers than squared error."""

    family: Literal["absolute_error"] = "absolute_error"
    """Name of the objective."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs()


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class HuberConfig(PredictionLossConfig):
    """Huber loss: half the squared error up to an error of `delta`, linear above it (Huber 1964)."""

    family: Literal["huber"] = "huber"
    """Name of the objective."""
    delta: Positive = 1.0
    """Error from which the loss is linear, in standard deviations of the target."""
    predicts: ClassVar[str] = "numbers"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(outputs, targets, reduction="none", delta=self.delta)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SoftmaxConfig(PredictionLossConfig):
    """Cross entropy of classes, with softmax probabilities.

    Targets are class indices or probabilities of all classes (one-hot or mixed).
    """

    family: Literal["softmax"] = "softmax"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability mass taken from the target and distributed uniformly over the classes."""
    predicts: ClassVar[str] = "class"
    tasks: ClassVar[tuple[str, ...]] = ("prediction", "recording_labels")

    def first_loss_range(self, num_outputs: int | None) -> tuple[float, float] | None:
        """Return a range around ln O for O classes; None with label smoothing."""
        return None if num_outputs is None or self.label_smoothing else first_cross_entropy_range(num_outputs)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=self.label_smoothing)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SigmoidConfig(PredictionLossConfig):
    """Binary cross entropy of each label, with sigmoid probabilities."""

    family: Literal["sigmoid"] = "sigmoid"
    """Name of the objective."""
    predicts: ClassVar[str] = "labels"

    def first_loss_range(self, num_outputs: int | None) -> tuple[float, float] | None:
        """Return a range around ln 2: each label has a probability of 0.5."""
        return first_cross_entropy_range(2)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
