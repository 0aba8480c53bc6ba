"""What models of numbers, classes and labels have in common, and the linear one.

Shapes: B examples, F frames of D numbers each (a row of a table is one frame), C channels, H and W height and width,
K numbers, classes or labels.
"""

from dataclasses import dataclass as plain_dataclass
from math import prod
from typing import Any, ClassVar, Literal, Protocol

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, ModelConfig
from seqlab.nn.layers import Linear


class InputSide(Protocol):
    """What a model needs to know of its inputs."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(F, D), or (C, H, W)."""
        ...


class TargetSide(Protocol):
    """What a model needs to know of its targets."""

    @property
    def size(self) -> int:
        """K."""
        ...


class PredictorConfig(ModelConfig):
    """The base of the configs of models that give each example a score for each number, class or label."""

    task: ClassVar[str] = "prediction"
    outputs: ClassVar[str] = "scores"
    default_objective: ClassVar[str] = "squared_error"

    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where the model cannot read examples of a shape; most read all."""

    def check_sides(self, src: Any, tgt: Any) -> None:
        """Raise ValueError where the model cannot read the inputs."""
        self.check_inputs(src.shape)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LinearConfig(PredictorConfig):
    """A weighted sum of the inputs: linear regression, or with a softmax or sigmoid loss logistic regression."""

    family: Literal["linear_model"] = "linear_model"
    """Which architecture this is."""

    def build(self, src: InputSide, tgt: TargetSide) -> "LinearPredictor":
        """Build the model."""
        return LinearPredictor(prod(src.shape), tgt.size)


class LinearPredictor(nn.Module):
    """A `Predictor` of one layer; all weights start at 0, as the problem is convex."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = Linear(inputs, outputs)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Score a batch: (B, K)."""
        scores: Tensor = self.project(batch.src.flatten(1))
        return scores


@plain_dataclass(frozen=True)
class InputShape:
    """An `InputSide` for models that are built by hand."""

    shape: tuple[int, ...]


@plain_dataclass(frozen=True)
class TargetSize:
    """A `TargetSide` for models that are built by hand."""

    size: int
