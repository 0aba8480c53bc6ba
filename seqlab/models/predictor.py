"""Base class of models that predict numbers, classes or labels, and the linear model.

Shapes: B examples, F frames of D features each (a table row is one frame), C channels, H and W height and width,
O outputs (numbers, classes or labels).
"""

from dataclasses import dataclass as plain_dataclass
from math import prod
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, ModelConfig
from seqlab.nn.layers import Linear


class InputSide(Protocol):
    """Source side of numeric inputs: the property that a model needs."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an example: (F, D), or (C, H, W)."""
        ...


class TargetSide(Protocol):
    """Target side of numbers, classes or labels: the property that a model needs."""

    @property
    def size(self) -> int:
        """O: number of outputs."""
        ...


class PredictorConfig(ModelConfig):
    """Base class of the configs of models that predict numbers, classes or labels."""

    task: ClassVar[str] = "prediction"
    other_tasks: ClassVar[tuple[str, ...]] = ("control",)  # as an actor or a critic
    outputs: ClassVar[str] = "scores"
    default_objective: ClassVar[str] = "squared_error"

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of classes, numbers or labels."""
        return int(tgt.size)

    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if the model does not support examples of this shape."""

    def check_sides(self, src: Any, tgt: Any) -> None:
        """Raise ValueError if the model does not support the inputs."""
        self.check_inputs(src.shape)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LinearConfig(PredictorConfig):
    """A linear model: linear regression, or logistic regression with a softmax or sigmoid loss."""

    family: Literal["linear_model"] = "linear_model"
    """Name of the model family."""

    def build(self, src: InputSide, tgt: TargetSide) -> "LinearPredictor":
        """Build the model."""
        return LinearPredictor(prod(src.shape), tgt.size)


class LinearPredictor(nn.Module):
    """Linear model; a `Predictor`. Weights start at 0, because the problem is convex."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = Linear(inputs, outputs)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the outputs of a batch: (B, O)."""
        outputs: Tensor = self.project(batch.src.flatten(1))
        return outputs


@plain_dataclass(frozen=True)
class InputShape:
    """An `InputSide` for building models directly."""

    shape: tuple[int, ...]


@plain_dataclass(frozen=True)
class TargetSize:
    """A `TargetSide` for building models directly."""

    size: int
