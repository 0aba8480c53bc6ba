"""Convolutions over spectrograms padded on the right; padding is zeroed before each layer and changes no output.

Shapes: B recordings, C channels, F frames, M mel bands.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from seqlab.nn.feature_norm import FeatureNorm, make_feature_norm
from seqlab.nn.layers import Dropout, Linear, initialize_for, make_nonlinearity
from seqlab.nn.masks import padding_mask

KERNEL_SIZE = 3
"""Kernel size in frames and in mel bands."""


def subsampled_lengths(lengths: Tensor, stride: int) -> Tensor:
    """Return the number of frames (B,) of each recording after a layer with this stride: ceil(length / stride)."""
    return (lengths + stride - 1) // stride


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Set padding frames to 0: x (B, C, F, M), lengths (B,)."""
    return x.masked_fill(padding_mask(lengths, x.size(2))[:, None, :, None], 0)


class FrameConvolution(nn.Module):
    """Convolution of 3 frames by 3 bands, norm, ReLU and dropout; residual if the stride is 1."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, norm: FeatureNorm = "none", dropout: float = 0.0
    ) -> None:
        """Build the layers.

        Raises:
            ValueError: `norm` uses statistics over positions, which would include padding.
        """
        super().__init__()
        if norm in ("batch", "group"):
            raise ValueError(f"`norm: {norm}` would depend on padding: choose `layer`, `rms` or `none`.")
        self.stride = stride
        self.convolution = nn.Conv2d(inputs, outputs, KERNEL_SIZE, stride, padding=1)
        initialize_for(self.convolution, "relu")
        self.norm, self.activation = make_feature_norm(norm, outputs), make_nonlinearity("relu")
        self.dropout = Dropout(dropout)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, inputs, F, M), lengths (B,) -> (B, outputs, F', M') and lengths (B,), with F' = ceil(F / stride)."""
        x = zero_padding(x, lengths)
        hidden = self.dropout(self.activation(self.norm(self.convolution(x).float())))
        return (x + hidden if self.is_residual else hidden), subsampled_lengths(lengths, self.stride)


class Subsampling(nn.Module):
    """Blocks of convolutions that each halve frames and bands, followed by a projection of each frame."""

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
            bands: mel bands of an input frame.
            channels: output channels of each block.
            outputs: features of an output frame.
            norm: norm after each convolution.
            depth: convolutions per block; those after the first keep the size and are residual.
            dropout: probability of dropping a feature after each convolution.
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
