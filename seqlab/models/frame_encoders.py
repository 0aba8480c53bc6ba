"""Encoders of feature frames, of which recognisers and labellers of recordings are made.

Convolutions halve the frames a few times (subsampling), and recurrent layers, self-attention or nothing else read what
is left. Padding changes no result.

Shapes: B recordings, F frames of M bands, F' frames after subsampling, D hidden size.
"""

from typing import Annotated, ClassVar, Protocol

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
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
    """What an encoder needs to know of the recordings' codec."""

    @property
    def num_bands(self) -> int:
        """M: numbers of a frame."""
        ...


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FrameEncoderConfig(ModelConfig):
    """The fields that all encoders of frames have."""

    channels: Channels = (32, 32)
    """Channels of each block of convolutions; each block halves the frames and the bands. Two blocks on frames of 10 ms
    leave one frame for each 40 ms."""

    def num_frames(self, frames: IntArray) -> IntArray:
        """Return how many frames are left of each recording (N,)."""
        for _ in self.channels:
            frames = -(-frames // 2)
        return frames

    @property
    def frame_step(self) -> int:
        """The subsampling factor: frames that become one."""
        return 2 ** len(self.channels)

    def build_encoder(self, bands: int) -> "FrameEncoder":
        """Build the encoder for frames of so many bands."""
        raise NotImplementedError


class FrameEncoder(nn.Module):
    """The base of the encoders."""

    output_size: int

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """frames (B, F, M), lengths (B,), each at least 1 -> hidden states (B, F', D) and lengths (B,)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ConvolutionFramesConfig(FrameEncoderConfig):
    """An encoder of convolutions alone."""

    channels: Channels = (32, 64, 128)
    """Channels of each block of convolutions; each block halves the frames and the bands."""
    depth: Size = 2
    """Convolutions of a block; those after the first are residual."""
    hidden_size: Size = 256
    """Features of a subsampled frame."""
    norm: FeatureNorm = "none"
    """After each convolution: `layer`, `rms` or `none`. The first two make silence as large as sound, which costs
    accuracy where bands are not normalised to the level of the recording."""
    dropout: Probability = 0.1
    """Probability of dropping a feature after each convolution, and of a subsampled frame."""

    @model_validator(mode="after")
    def _check_norm(self) -> "ConvolutionFramesConfig":
        if self.norm in ("batch", "group"):
            raise ValueError(f"`norm: {self.norm}` would depend on padding: choose `layer`, `rms` or `none`.")
        return self

    def build_encoder(self, bands: int) -> "ConvolutionFrames":
        """Build the encoder for frames of so many bands."""
        return ConvolutionFrames(self, bands)


class ConvolutionFrames(FrameEncoder):
    """Residual convolutions over time and bands."""

    def __init__(self, config: ConvolutionFramesConfig, bands: int) -> None:
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
class RecurrentFramesConfig(FrameEncoderConfig):
    """An encoder of convolutions and bidirectional recurrent layers."""

    hidden_size: Annotated[int, Field(ge=2, le=MAX_COUNT, multiple_of=2)] = 320
    """Size of what a layer gives, of which each direction has one half."""
    num_layers: Size = 3
    """Recurrent layers."""
    dropout: Probability = 0.2
    """Probability of dropping a feature before each layer and after the last, throughout a recording."""
    weight_dropout: Probability = 0.0
    """Probability of dropping an element of the recurrent matrices, anew in each micro-step."""

    kind: ClassVar[RecurrentKind] = "lstm"

    def build_encoder(self, bands: int) -> "RecurrentFrames":
        """Build the encoder for frames of so many bands."""
        return RecurrentFrames(self, bands)


class RecurrentFrames(FrameEncoder):
    """Subsampling, and recurrent layers in both directions."""

    def __init__(self, config: RecurrentFramesConfig, bands: int) -> None:
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
class TransformerFramesConfig(EncoderLayersConfig, FrameEncoderConfig):
    """An encoder of convolutions and self-attention."""

    attention_window: Size | None = None
    """Frames after subsampling, to each side, that a frame attends to (local attention); null for all."""

    @model_validator(mode="after")
    def _check_positions(self) -> "TransformerFramesConfig":
        if self.positions == "learned":
            raise ValueError("`positions: learned` is for texts of a bounded length: choose `sinusoidal` or `rotary`.")
        return self

    def build_encoder(self, bands: int) -> "TransformerFrames":
        """Build the encoder for frames of so many bands."""
        return TransformerFrames(self, bands)


class TransformerFrames(FrameEncoder):
    """Subsampling, and layers of self-attention, perhaps within a window (Luong et al. 2015 call it local)."""

    def __init__(self, config: TransformerFramesConfig, bands: int) -> None:
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
            # Padding attends to all, as what attends to nothing is not a number.
            near = masks.within_window(x.size(1), self.window, x.device) | is_padding[:, None, :, None]
            can_attend = can_attend & near
        bias = masks.additive(can_attend)
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x), lengths
