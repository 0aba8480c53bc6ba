"""Encoders that read each position by itself: a multi-layer perceptron, and none at all, for linear models.

Shapes: B rows, S positions, E input size, D output size.
"""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.encoder import Encoder, EncoderConfig
from seqlab.nn.feature_norm import FeatureNorm, make_feature_norm
from seqlab.nn.layers import Dropout, Linear, Nonlinearity, initialize_for, make_nonlinearity
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LinearEncoderConfig(EncoderConfig):
    """No hidden layers: with the head, a linear model of the inputs."""

    family: Literal["linear"] = "linear"
    """Name of the encoder family."""
    activation: Nonlinearity | Literal["none"] = "none"
    """Activation function of the inputs."""
    input_dropout: Probability = 0.0
    """Dropout probability of the inputs."""

    relates_positions: ClassVar[bool] = False

    @property
    def is_causal(self) -> bool:
        """Each position is read by itself."""
        return True

    def build(self, input_size: int, max_length: int | None = None) -> "LinearEncoder":
        """Build the encoder."""
        return LinearEncoder(self, input_size)

    def init_weights(self, module: nn.Module) -> None:
        """Initialize linear layers with 0: the problem is convex."""
        for layer in module.modules():
            if isinstance(layer, Linear):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)


class LinearEncoder(Encoder):
    """The inputs, with an optional activation function and dropout."""

    def __init__(self, config: LinearEncoderConfig, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size
        self.activation = nn.Identity() if config.activation == "none" else make_nonlinearity(config.activation)
        self.input_dropout = Dropout(config.input_dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x (B, S, E), lengths (B,) -> (B, S, E) and the lengths."""
        return self.input_dropout(self.activation(x)), lengths


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MlpEncoderConfig(EncoderConfig):
    """A multi-layer perceptron, applied to each position."""

    family: Literal["mlp"] = "mlp"
    """Name of the encoder family."""
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

    relates_positions: ClassVar[bool] = False

    @property
    def is_causal(self) -> bool:
        """Each position is read by itself."""
        return True

    def build(self, input_size: int, max_length: int | None = None) -> "MlpEncoder":
        """Build the encoder."""
        return MlpEncoder(self, input_size)


class HiddenLayer(nn.Module):
    """Hidden layer: linear map, norm, activation function, dropout and an optional residual connection."""

    def __init__(self, config: MlpEncoderConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = Linear(inputs, outputs)
        initialize_for(self.project, config.activation)
        self.norm = make_feature_norm(config.norm, outputs)
        self.activation = make_nonlinearity(config.activation)
        self.dropout = Dropout(config.dropout)
        self.is_residual = config.residual and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """x (N, inputs) -> (N, outputs)."""
        hidden: Tensor = self.dropout(self.activation(self.norm(self.project(x).float())))
        return x + hidden if self.is_residual else hidden


class MlpEncoder(Encoder):
    """Multi-layer perceptron over the vector of each position."""

    def __init__(self, config: MlpEncoderConfig, input_size: int) -> None:
        super().__init__()
        self.output_size = config.hidden_sizes[-1]
        self.input_dropout = Dropout(config.input_dropout)
        sizes = pairwise((input_size, *config.hidden_sizes))
        self.hidden = nn.Sequential(*(HiddenLayer(config, *pair) for pair in sizes))

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x (B, S, E), lengths (B,) -> hidden states (B, S, D) and the lengths."""
        x = self.input_dropout(x)
        if lengths is None:
            return self.hidden(x.flatten(0, 1)).unflatten(0, x.shape[:2]), lengths
        is_input = ~padding_mask(lengths, x.size(1))  # a batch norm must not see padding
        hidden: Tensor = self.hidden(x[is_input])
        return hidden.new_zeros(*x.shape[:2], self.output_size).masked_scatter(is_input[..., None], hidden), lengths
