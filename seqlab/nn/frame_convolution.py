"""Convolutions over spectrograms, padded on the right: padding is zeroed before each, so that it changes nothing.

Shapes: B recordings, C channels, F frames, M mel bands.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from seqlab.nn.feature_norm import FeatureNorm, make_feature_norm
from seqlab.nn.layers import Dropout, Linear, initialize_for, make_nonlinearity
from seqlab.nn.masks import padding_mask

KERNEL = 3


def strided(sizes: Tensor, stride: int) -> Tensor:
    """Return how many frames are left of each recording (B,): every `stride`-th, the first counted."""
    return (sizes + stride - 1) // stride


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Set frames after the last one of each recording to 0: x (B, C, F, M), lengths (B,)."""
    return x.masked_fill(padding_mask(lengths, x.size(2))[:, None, :, None], 0)


class FrameConvolution(nn.Module):
    """A convolution of 3 frames by 3 bands, norm, ReLU and dropout; with a stride of 1 added to its input."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, norm: FeatureNorm = "none", dropout: float = 0.0
    ) -> None:
        """`norm`: one that looks at each position by itself (`layer`, `rms`): others would see padding."""
        super().__init__()
        if norm in ("batch", "group"):
            raise ValueError(f"`norm: {norm}` would depend on padding: choose `layer`, `rms` or `none`.")
        self.stride = stride
        self.convolution = nn.Conv2d(inputs, outputs, KERNEL, stride, padding=1)
        initialize_for(self.convolution, "relu")
        self.norm, self.activation = make_feature_norm(norm, outputs), make_nonlinearity("relu")
        self.dropout = Dropout(dropout)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, inputs, F, M), lengths (B,) -> (B, outputs, F', M') and lengths (B,), with F' = ceil(F / stride)."""
        x = zero_padding(x, lengths)
        hidden = self.dropout(self.activation(self.norm(self.convolution(x).float())))
        return (x + hidden if self.is_residual else hidden), strided(lengths, self.stride)


class Subsampling(nn.Module):
    """Blocks of convolutions, each of which halves frames and bands, and a projection of what is left of each frame."""

    def __init__(
        self,
        bands: int,
        channels: Sequence[int],
        outputs: int,
        *,
        norm: FeatureNorm = "none",
        depth: int = 1,
        dropout: float = 0.0,
    ) -> None:
        """Build the layers.

        Args:
            bands: of a frame.
            channels: of each block.
            outputs: features of a frame that is left.
            norm: after each convolution.
            depth: convolutions of a block; those after the first keep the size, and are added to what they read.
            dropout: of features, after each convolution.
        """
        super().__init__()
        layers = []
        for inputs, size in zip((1, *channels), channels, strict=False):
            layers.append(FrameConvolution(inputs, size, stride=2, norm=norm, dropout=dropout))
            layers += [FrameConvolution(size, size, stride=1, norm=norm, dropout=dropout) for _ in range(depth - 1)]
            bands = -(-bands // 2)
        self.layers = nn.ModuleList(layers)
        self.project = Linear(channels[-1] * bands, outputs)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """frames (B, F, M), lengths (B,) -> (B, F', outputs) and lengths (B,)."""
        x = frames[:, None]
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        return self.project(x.transpose(1, 2).flatten(2)).float(), lengths
