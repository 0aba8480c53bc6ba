"""Inputs of recordings: convolutions that reduce the frame rate (subsampling).

Shapes: B recordings, F frames of M bands, F' frames after subsampling, E size of a vector.
"""

from typing import Annotated, Protocol

from pydantic import Field, model_validator

from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.encoder import EncoderModelConfig
from seqlab.models.unreachable_targets import IntArray
from seqlab.nn.feature_norm import FeatureNorm
from seqlab.nn.frame_convolution import Subsampling

DEFAULT_SIZE = 320
"""Default size of vectors for encoders that accept any."""


class FrameSide(Protocol):
    """Source side of recordings: the property of their codec that a model needs."""

    @property
    def num_bands(self) -> int:
        """M: number of bands of a frame."""
        ...


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FrameModelConfig(EncoderModelConfig):
    """Base class of the configs of models that read recordings."""

    channels: Annotated[tuple[Size, ...], Field(min_length=1)] = (32, 32)
    """Channels of each convolution block. Each block halves the frame rate and the number of bands: two blocks turn
    frames of 10 ms into frames of 40 ms."""
    depth: Size = 1
    """Number of convolutions per block; those after the first are residual."""
    frame_size: Size | None = None
    """Size of the vectors that the encoder reads; null takes the size that it needs, or else 320."""
    frame_norm: FeatureNorm = "none"
    """Norm after each convolution: `layer`, `rms` or `none`. `layer` and `rms` amplify silence to the level of sound,
    which costs accuracy unless the bands are normalized by the recording's level."""
    frame_dropout: Probability = 0.0
    """Dropout probability after each convolution."""

    @model_validator(mode="after")
    def _check_frames(self) -> "FrameModelConfig":
        if self.frame_norm in ("batch", "group"):
            raise ValueError(
                f"`frame_norm: {self.frame_norm}` would depend on padding: set `frame_norm` to `layer`, `rms` or "
                "`none`."
            )
        if self.encoder.num_learned_positions is not None:
            raise ValueError(
                "`encoder.positions: learned` needs a maximum length, which recordings do not have: set "
                "`encoder.positions` to `sinusoidal` or `rotary`."
            )
        if self.frame_size is not None and self.encoder.input_size not in (None, self.frame_size):
            raise ValueError(
                f"`frame_size` ({self.frame_size}) must be {self.encoder.input_size}, the size of the inputs of "
                f"`encoder.family: {self.encoder.family}`: change it, or set it to null."
            )
        return self

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length: None, because recordings have no limit."""
        return None

    @property
    def vector_size(self) -> int:
        """E."""
        return self.frame_size or self.encoder.input_size or DEFAULT_SIZE

    def num_frames(self, frames: IntArray) -> IntArray:
        """Return the number of frames (N,) after subsampling, from the number of frames (N,) of each recording."""
        for _ in self.channels:
            frames = -(-frames // 2)
        return frames

    @property
    def subsampling_factor(self) -> int:
        """Number of input frames per frame after subsampling."""
        return 2 ** len(self.channels)

    def build_input(self, bands: int) -> Subsampling:
        """Build the convolutions for frames of `bands` bands."""
        return Subsampling(
            bands,
            self.channels,
            self.vector_size,
            norm=self.frame_norm,
            depth=self.depth,
            dropout=self.frame_dropout,
        )
