"""Transformer encoder of vectors (Vaswani et al. 2017): positions, self-attention over all positions or near ones.

Shapes: B rows, S positions, D d_model.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, Size
from seqlab.models.encoder import Encoder, EncoderConfig
from seqlab.models.transformer_encoder import AttentionLayers, init_linear_weights, make_last_norm, make_layers
from seqlab.nn import masks
from seqlab.nn.embedding import PositionKind, check_heads, make_positions
from seqlab.nn.layers import Dropout


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerEncoderConfig(AttentionLayers, EncoderConfig):
    """An encoder of self-attention layers."""

    family: Literal["transformer"] = "transformer"
    """Name of the encoder family."""
    num_layers: Size = 4
    """Number of layers."""
    positions: PositionKind | Literal["none"] = "sinusoidal"
    """Position encoding; with `none` the order of the inputs has no effect."""
    attention_window: Size | None = None
    """Local attention (Luong et al. 2015): number of positions before and after each that it attends to; null for
    all."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Maximum number of tokens at inference; longer texts are split or cut. With `positions: learned` also a limit in
    training."""

    embedding_range: ClassVar[float | None] = None
    input_field: ClassVar[str] = "d_model"

    @model_validator(mode="after")
    def _check(self) -> "TransformerEncoderConfig":
        check_heads(self.d_model, self.num_heads, self.positions)
        return self

    @property
    def input_size(self) -> int:
        """The size of the hidden states, to which positions and the outputs of layers are added."""
        return self.d_model

    @property
    def context_limit(self) -> int | None:
        """Maximum number of tokens at inference."""
        return self.max_length

    @property
    def num_learned_positions(self) -> int | None:
        """Number of positions with learned vectors."""
        return self.max_length if self.positions == "learned" else None

    def build(self, input_size: int, max_length: int | None = None) -> "SelfAttentionEncoder":
        """Build the encoder."""
        assert input_size == self.d_model, "models make inputs of `input_size`"
        return SelfAttentionEncoder(self, self.max_length if max_length is None else max_length)

    def init_weights(self, module: nn.Module) -> None:
        """Initialize linear layers with Glorot-uniform weights and zero biases."""
        module.apply(init_linear_weights)


class SelfAttentionEncoder(Encoder):
    """Stack of self-attention layers over inputs with positions."""

    def __init__(self, config: TransformerEncoderConfig, max_length: int) -> None:
        super().__init__()
        self.output_size, self.window = config.d_model, config.attention_window
        self.positions = make_positions(config.positions, config.d_model, max_length)
        self.dropout = Dropout(config.dropout)
        self.layers = make_layers(config, config.num_layers, is_rotary=config.positions == "rotary")
        self.norm = make_last_norm(config)

    def enter(self, x: Tensor) -> Tensor:
        """Add positions to x (B, S, D), then apply dropout."""
        return self.dropout(x if self.positions is None else self.positions(x))

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x (B, S, D), lengths (B,) -> hidden states (B, S, D) and the lengths."""
        bias = self._bias(x, lengths)
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x), lengths

    def _bias(self, x: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Return the bias of the attention scores (B or 1, 1, S or 1, S); None if all positions attend to all."""
        is_padding = None if lengths is None else masks.padding_mask(lengths, x.size(1))
        can_attend = None if is_padding is None else masks.can_attend_to_keys(is_padding)
        if self.window is not None:
            near = masks.within_window(x.size(1), self.window, x.device)
            if is_padding is not None and can_attend is not None:
                # Padding attends to all positions: a softmax over none would be NaN.
                near = can_attend & (near | is_padding[:, None, :, None])
            can_attend = near
        return None if can_attend is None else masks.additive(can_attend)
