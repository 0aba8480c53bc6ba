"""Encoders of acoustic feature frames, for speech recognizers and labellers of recordings.

Convolutions halve the frame rate a few times (subsampling). Recurrent layers or self-attention may follow. Results do
not depend on padding.

Shapes: B recordings, F frames of M bands, F' frames after subsampling, D hidden size.
"""

from typing import Annotated, ClassVar, Protocol

from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, IntArray, ModelConfig, Probability, Size
from seqlab.models.transformer_encoder import EncoderLayersConfig, init_linear_weights, make_last_norm, make_layers
from seqlab.nn import masks
from seqlab.nn.embedding import SinusoidalPositions
from seqlab.nn.feature_norm import FeatureNorm
from seqlab.nn.frame_convolution import Subsampling
from seqlab.nn.layers import Dropout
from seqlab.nn.recurrent import Recurrent, RecurrentKind

Channels = Annotated[tuple[Size, ...], Field(min_length=1)]


class FrameSide(Protocol):
    """Source side of recordings: the property of their codec that an encoder needs."""

    @property
    def num_bands(self) -> int:
        """M: number of bands of a frame."""
        ...


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FrameEncoderConfig(ModelConfig):
    """Common fields of encoders of frames."""

    channels: Channels = (32, 32)
    """Channels of each convolution block. Each block halves the frame rate and the number of bands: two blocks turn
    frames of 10 ms into frames of 40 ms."""

    def num_frames(self, frames: IntArray) -> IntArray:
        """Return the number of frames (N,) after subsampling, from the number of frames (N,) of each recording."""
        for _ in self.channels:
            frames = -(-frames // 2)
        return frames

    @property
    def subsampling_factor(self) -> int:
        """Number of input frames per output frame."""
        return 2 ** len(self.channels)

    def build_encoder(self, bands: int) -> "FrameEncoder":
        """Build the encoder for frames of `bands` bands."""
        raise NotImplementedError


class FrameEncoder(nn.Module):
    """Base class of encoders of frames."""

    output_size: int

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """frames (B, F, M), lengths (B,), each at least 1 -> hidden states (B, F', D), their lengths (B,)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ConvolutionFrameEncoderConfig(FrameEncoderConfig):
    """An encoder of convolutions only."""

    channels: Channels = (32, 64, 128)
    """Channels of each convolution block. Each block halves the frame rate and the number of bands."""
    depth: Size = 2
    """Number of convolutions per block; those after the first are residual."""
    hidden_size: Size = 256
    """Size of the encoder's outputs."""
    norm: FeatureNorm = "none"
    """Norm after each convolution: `layer`, `rms` or `none`. `layer` and `rms` amplify silence to the level of sound,
    which costs accuracy unless the bands are normalized by the recording's level."""
    dropout: Probability = 0.1
    """Dropout probability after each convolution and of the encoder's outputs."""

    @model_validator(mode="after")
    def _check_norm(self) -> "ConvolutionFrameEncoderConfig":
        if self.norm in ("batch", "group"):
            raise ValueError(f"`norm: {self.norm}` would depend on padding: set `norm` to `layer`, `rms` or `none`.")
        return self

    def build_encoder(self, bands: int) -> "ConvolutionFrameEncoder":
        """Build the encoder for frames of `bands` bands."""
        return ConvolutionFrameEncoder(self, bands)


class ConvolutionFrameEncoder(FrameEncoder):
    """Encoder of residual convolutions over time and bands."""

    def __init__(self, config: ConvolutionFrameEncoderConfig, bands: int) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        self.subsampling = Subsampling(
            bands, config.channels, config.hidden_size, norm=config.norm, depth=config.depth, dropout=config.dropout
        )
        self.dropout = Dropout(config.dropout)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `FrameEncoder`."""
        x, lengths = self.subsampling(frames, lengths)
        return self.dropout(x.relu()), lengths


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentFrameEncoderConfig(FrameEncoderConfig):
    """An encoder of convolutions and bidirectional recurrent layers."""

    hidden_size: Annotated[int, Field(ge=2, le=MAX_COUNT, multiple_of=2)] = 320
    """Output size of each recurrent layer, half for each direction."""
    num_layers: Size = 3
    """Number of recurrent layers."""
    dropout: Probability = 0.2
    """Dropout probability before each layer and after the last, with one mask per recording."""
    weight_dropout: Probability = 0.0
    """Dropout probability of the recurrent weights (DropConnect), drawn once per micro-step."""

    kind: ClassVar[RecurrentKind] = "lstm"

    def build_encoder(self, bands: int) -> "RecurrentFrameEncoder":
        """Build the encoder for frames of `bands` bands."""
        return RecurrentFrameEncoder(self, bands)


class RecurrentFrameEncoder(FrameEncoder):
    """Encoder of subsampling convolutions and bidirectional recurrent layers."""

    def __init__(self, config: RecurrentFrameEncoderConfig, bands: int) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        self.subsampling = Subsampling(bands, config.channels, config.hidden_size)
        self.layers = Recurrent(
            config.kind,
            config.hidden_size,
            config.hidden_size // 2,
            config.num_layers,
            bidirectional=True,
            input_dropout=config.dropout,
            hidden_dropout=config.dropout,
            output_dropout=config.dropout,
            weight_dropout=config.weight_dropout,
        )

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `FrameEncoder`."""
        x, lengths = self.subsampling(frames, lengths)
        return self.layers(x, lengths=lengths).output, lengths


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerFrameEncoderConfig(EncoderLayersConfig, FrameEncoderConfig):
    """An encoder of convolutions and self-attention."""

    attention_window: Size | None = None
    """Local attention: number of frames after subsampling, before and after each, that it attends to; null for all."""

    @model_validator(mode="after")
    def _check_positions(self) -> "TransformerFrameEncoderConfig":
        if self.positions == "learned":
            raise ValueError(
                "`positions: learned` needs a maximum length, which recordings do not have: set `positions` to "
                "`sinusoidal` or `rotary`."
            )
        return self

    def build_encoder(self, bands: int) -> "TransformerFrameEncoder":
        """Build the encoder for frames of `bands` bands."""
        return TransformerFrameEncoder(self, bands)


class TransformerFrameEncoder(FrameEncoder):
    """Encoder of subsampling convolutions and self-attention, optionally local (Luong et al. 2015)."""

    def __init__(self, config: TransformerFrameEncoderConfig, bands: int) -> None:
        super().__init__()
        self.output_size, self.window = config.d_model, config.attention_window
        self.subsampling = Subsampling(bands, config.channels, config.d_model)
        self.positions = SinusoidalPositions(config.d_model) if config.positions == "sinusoidal" else None
        self.dropout = Dropout(config.dropout)
        self.layers, self.norm = make_layers(config), make_last_norm(config)
        self.layers.apply(init_linear_weights)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `FrameEncoder`."""
        x, lengths = self.subsampling(frames, lengths)
        x = self.dropout(x if self.positions is None else self.positions(x))
        is_padding = masks.padding_mask(lengths, x.size(1))
        can_attend = masks.can_attend_to_keys(is_padding)
        if self.window is not None:
            # Padding attends to all frames: a softmax over no frames would be NaN.
            near = masks.within_window(x.size(1), self.window, x.device) | is_padding[:, None, :, None]
            can_attend = can_attend & near
        bias = masks.additive(can_attend)
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x), lengths
