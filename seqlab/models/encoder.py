"""Base classes of encoders, and of models that are an encoder and a head.

An encoder turns vectors into hidden states. It is registered once (`@seqlab.register("encoder")`) and serves every
model that is an encoder and a head: the model makes vectors of its inputs, and predictions of the hidden states.

Shapes: B rows, S positions, E size of an input vector, D size of a hidden state.
"""

from typing import ClassVar, Self

from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, ModelConfig, WarmStart
from seqlab.part import Part


class Encoder(nn.Module):
    """Base class of encoders: a subclass defines `forward` and sets `output_size`."""

    output_size: int
    """D."""

    def enter(self, x: Tensor) -> Tensor:
        """Prepare input vectors (B, S, E) before features are added: positions and dropout; by default unchanged."""
        return x

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Encode rows padded on the right; the results of a row depend neither on padding nor on other rows.

        Args:
            x: (B, S, E), the result of `enter`.
            lengths: (B,), each at least 1; None if all rows have S positions.

        Returns:
            Hidden states (B, S', D), and their lengths (B,).
        """
        raise NotImplementedError


class EncoderConfig(Part):
    """Base class of encoder configs."""

    part_kind: ClassVar[str] = "encoder"
    required_members: ClassVar[tuple[str, ...]] = ("build",)
    shared_fields: ClassVar[tuple[str, ...]] = (
        *("hidden_size", "num_layers", "bidirectional", "dropout", "input_dropout", "output_dropout", "weight_dropout"),
        "residual",
    )
    embedding_range: ClassVar[float | None] = 0.1
    """Embeddings of tokens are initialized uniformly between this and its negative. With None they start with a
    variance of 1 / E and are multiplied by sqrt(E)."""
    input_field: ClassVar[str] = ""
    """Name of the field that sets `input_size`."""
    relates_positions: ClassVar[bool] = True
    """Whether a hidden state may depend on several positions."""
    family: str

    def build(self, input_size: int, max_length: int | None = None) -> Encoder:
        """Build the encoder with random weights.

        Args:
            input_size: E.
            max_length: maximum of S; None if it is unknown.
        """
        raise NotImplementedError

    @property
    def input_size(self) -> int | None:
        """The only E that the encoder accepts; None, the default, if it accepts any."""
        return None

    @property
    def context_limit(self) -> int | None:
        """Maximum number of tokens of a sequence at inference; None for no limit."""
        return None

    @property
    def num_learned_positions(self) -> int | None:
        """Number of positions with learned vectors; None for an encoder without them."""
        return None

    @property
    def recurrent_kind(self) -> str:
        """Kind of the recurrent layers; empty, the default, for none."""
        return ""

    @property
    def is_causal(self) -> bool:
        """Whether a hidden state depends only on the inputs up to its position; by default not."""
        return False

    @property
    def carries_state(self) -> bool:
        """Whether the encoder has the methods of `seqlab.models.language_model.StatefulEncoder`; by default not."""
        return False

    @property
    def configured_output_size(self) -> int | None:
        """D, if the config sets it; by default None."""
        return None

    def with_output_size(self, size: int) -> Self:
        """Return the config with outputs of a size, if the output size can be set; by default the same config."""
        return self

    def init_weights(self, module: nn.Module) -> None:
        """Initialize the layers of a module in the way that suits this encoder; by default they are left as they are.

        Models call this at the end of their construction, for the encoder or for all of their layers.
        """


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EncoderModelConfig(ModelConfig):
    """Base class of the configs of models that are an encoder and a head."""

    encoder: EncoderConfig
    """Encoder, chosen by its `family`."""

    def __str__(self) -> str:
        """Return the name of the model for messages: `labeler (lstm)`."""
        return f"{self.family} ({self.encoder.family})"

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length in tokens; None for no limit."""
        return self.encoder.context_limit

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs; a field of the encoder takes precedence."""
        encoder = self.encoder
        positions = encoder.num_learned_positions
        return WarmStart.of(self, encoder, learned_positions=positions, recurrent_kind=encoder.recurrent_kind)
