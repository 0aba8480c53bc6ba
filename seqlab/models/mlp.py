"""Multi-layer perceptron: each hidden layer is a linear map, a norm, an activation function and dropout.

Shapes: B examples, F frames of D features each, O outputs (numbers, classes or labels).
"""

from itertools import pairwise
from math import prod
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.nn.feature_norm import FeatureNorm, make_feature_norm
from seqlab.nn.layers import Dropout, Linear, Nonlinearity, initialize_for, make_nonlinearity


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MlpConfig(PredictorConfig):
    """A multi-layer perceptron over all features of an example."""

    family: Literal["mlp"] = "mlp"
    """Name of the model family."""
    hidden_sizes: Annotated[tuple[Size, ...], Field(min_length=1)] = (256, 256)
    """Number of units of each hidden layer."""
    activation: Nonlinearity = "relu"
    """Activation function of the hidden layers."""
    norm: FeatureNorm = "none"
    """Norm before each activation function: over the batch for each unit (`batch`), or over the units of each example
    (`layer`)."""
    residual: bool = False
    """Whether hidden layers have residual connections, where input and output have the same size (He et al. 2016)."""
    dropout: Probability = 0.0
    """Dropout probability of the hidden units."""
    input_dropout: Probability = 0.0
    """Dropout probability of the inputs."""

    def build(self, src: InputSide, tgt: TargetSide) -> "Mlp":
        """Build the model."""
        return Mlp(self, prod(src.shape), tgt.size)


class HiddenLayer(nn.Module):
    """Hidden layer: linear map, norm, activation function, dropout and an optional residual connection."""

    def __init__(self, config: MlpConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = Linear(inputs, outputs)
        initialize_for(self.project, config.activation)
        self.norm = make_feature_norm(config.norm, outputs)
        self.activation = make_nonlinearity(config.activation)
        self.dropout = Dropout(config.dropout)
        self.is_residual = config.residual and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs) -> (B, outputs)."""
        hidden: Tensor = self.dropout(self.activation(self.norm(self.project(x).float())))
        return x + hidden if self.is_residual else hidden


class Mlp(nn.Module):
    """Multi-layer perceptron; implements `Predictor`."""

    def __init__(self, config: MlpConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.input_dropout = Dropout(config.input_dropout)
        sizes = (inputs, *config.hidden_sizes)
        self.hidden = nn.Sequential(*(HiddenLayer(config, *pair) for pair in pairwise(sizes)))
        self.project = Linear(sizes[-1], outputs)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the outputs of a batch: (B, O)."""
        outputs: Tensor = self.project(self.hidden(self.input_dropout(batch.src.flatten(1))))
        return outputs
