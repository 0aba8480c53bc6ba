"""Recurrent encoders: tanh RNNs, LSTMs or GRUs, in one direction or both.

Shapes: B rows, S positions, E input size, D hidden size.
"""

from dataclasses import replace
from typing import Annotated, Self

from pydantic import Field, model_validator
from torch import Tensor

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.encoder import Encoder, EncoderConfig
from seqlab.nn.recurrent import Recurrent, RecurrentKind, RecurrentOutput
from seqlab.nn.recurrent_state import RecurrentState


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentEncoderConfig(EncoderConfig):
    """An encoder of tanh RNNs (Elman 1990), LSTMs (Hochreiter & Schmidhuber 1997) or gated recurrent units (Cho et al.
    2014)."""

    family: RecurrentKind = "lstm"
    """Name of the encoder family: the kind of its recurrent layers."""
    hidden_size: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 256
    """Output size of each layer; with two directions each has half of it."""
    num_layers: Size = 1
    """Number of layers."""
    last_size: Size | None = None
    """Output size of the last layer; null takes `hidden_size`. Language models with tied embeddings set it."""
    residual: bool = False
    """Whether each layer after the first has a residual connection, where input and output have the same size."""
    bidirectional: bool = True
    """Whether each layer reads the sequence in both directions (Schuster & Paliwal 1997)."""
    dropout: Probability = 0.3
    """Dropout probability between layers, with one mask per row."""
    input_dropout: Probability | None = None
    """Dropout probability of the inputs, with one mask per row; null takes `dropout`."""
    output_dropout: Probability = 0.0
    """Dropout probability of the last layer's output, with one mask per row."""
    weight_dropout: Probability = 0.0
    """Dropout probability of the recurrent weights (DropConnect), drawn once per micro-step."""

    @property
    def recurrent_kind(self) -> RecurrentKind:
        """Kind of the recurrent layers."""
        return self.family

    @model_validator(mode="after")
    def _check(self) -> "RecurrentEncoderConfig":
        for name, size in (("hidden_size", self.hidden_size), ("last_size", self.configured_output_size)):
            if self.bidirectional and size % 2:
                raise ValueError(
                    f"`{name}` must be even for two directions, but is {size} instead: change it, or set "
                    "`bidirectional: false`."
                )
        return self

    @property
    def carries_state(self) -> bool:
        """Whether the state after a position is all that later positions need: not in two directions."""
        return not self.bidirectional

    @property
    def configured_output_size(self) -> int:
        """Output size of the last layer."""
        return self.hidden_size if self.last_size is None else self.last_size

    def with_output_size(self, size: int) -> Self:
        """Return the config with a last layer of this size."""
        return self if size == self.configured_output_size else replace(self, last_size=size)

    @property
    def is_causal(self) -> bool:
        """Whether the layers read the sequence only forward."""
        return not self.bidirectional

    def build(self, input_size: int, max_length: int | None = None) -> "RecurrentEncoder":
        """Build the encoder."""
        return RecurrentEncoder(self, input_size)


class RecurrentEncoder(Encoder):
    """Stack of recurrent layers."""

    def __init__(self, config: RecurrentEncoderConfig, input_size: int) -> None:
        super().__init__()
        self.output_size, directions = config.configured_output_size, 2 if config.bidirectional else 1
        self.layers = Recurrent(
            config.recurrent_kind,
            input_size,
            config.hidden_size // directions,
            config.num_layers,
            last_size=self.output_size // directions,
            bidirectional=config.bidirectional,
            residual=config.residual,
            input_dropout=config.dropout if config.input_dropout is None else config.input_dropout,
            hidden_dropout=config.dropout,
            output_dropout=config.output_dropout,
            weight_dropout=config.weight_dropout,
        )

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x (B, S, E), lengths (B,) -> hidden states (B, S, D), 0 at padding, and the lengths."""
        return self.layers(x, lengths=lengths).output, lengths

    def run(self, x: Tensor, state: RecurrentState | None) -> RecurrentOutput:
        """Encode x (B, S, E) from a state; None for the start of a text."""
        output: RecurrentOutput = self.layers(x, state)
        return output

    def step(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Encode one position of each row, without dropout: x (N, E) -> hidden (N, D), next state."""
        return self.layers.step(x, state)

    def initial_state(self, batch_size: int) -> RecurrentState:
        """Return a state of zeros."""
        return self.layers.initial_state(batch_size)
