"""Convolutions of one and two dimensions: layers, how large their outputs are, and how far they look.

Shapes: B examples, C channels, L positions, H and W height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from seqlab.nn.feature_norm import FeatureNorm, make_feature_norm
from seqlab.nn.layers import Dropout, Nonlinearity, initialize_for, make_nonlinearity

Padding = Literal["same", "valid"]
"""Zeros are put around the input, so that with a stride of 1 the output is as large; or there are none."""
Pooling = Literal["none", "max", "mean"]


@dataclass(frozen=True)
class OutputGeometry:
    """What one position of an output sees of the input, along one dimension."""

    size: int
    """Positions of the output."""
    receptive_field: int = 1
    """Positions of the input that one of them can depend on."""
    stride: int = 1
    """How far apart in the input the fields of two neighbours begin."""

    def after(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "OutputGeometry":
        """Append a convolution or a pooling (Dumoulin & Visin 2016, arXiv:1603.07285)."""
        extent = dilation * (kernel - 1)
        size = (self.size + 2 * padding - extent - 1) // stride + 1
        return OutputGeometry(max(0, size), self.receptive_field + extent * self.stride, self.stride * stride)


def same_padding(kernel: int, dilation: int = 1) -> int:
    """Return the zeros at each end that keep the size with a stride of 1; raises ValueError for an even kernel."""
    if kernel % 2 == 0:
        raise ValueError(f"`padding: same` needs an odd `kernel`, but it is {kernel} instead.")
    return dilation * (kernel - 1) // 2


class ConvolutionBlock(nn.Module):
    """Convolution, norm, non-linearity, pooling, dropout; perhaps added to its input where the shape stays."""

    def __init__(
        self,
        dimensions: int,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        padding: Padding = "same",
        dilation: int = 1,
        norm: FeatureNorm = "none",
        activation: Nonlinearity = "relu",
        pooling: Pooling = "none",
        pool_size: int = 2,
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        """`dimensions`: 1 for (B, C, L), 2 for (B, C, H, W)."""
        super().__init__()
        kind = nn.Conv1d if dimensions == 1 else nn.Conv2d
        self.padding = same_padding(kernel, dilation) if padding == "same" else 0
        self.convolution = kind(inputs, outputs, kernel, stride, self.padding, dilation)
        initialize_for(self.convolution, activation)
        self.norm, self.activation = make_feature_norm(norm, outputs), make_nonlinearity(activation)
        pools = {
            ("max", 1): nn.MaxPool1d,
            ("max", 2): nn.MaxPool2d,
            ("mean", 1): nn.AvgPool1d,
            ("mean", 2): nn.AvgPool2d,
        }
        self.pool = nn.Identity() if pooling == "none" else pools[pooling, dimensions](pool_size)
        self.pool_size = 1 if pooling == "none" else pool_size
        self.dropout = Dropout(dropout)
        self.is_residual = residual and inputs == outputs and stride == 1 and padding == "same"
        self.kernel, self.stride, self.dilation = kernel, stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, ...) -> (B, outputs, ...)."""
        hidden: Tensor = self.activation(self.norm(self.convolution(x).float()))
        hidden = x + hidden if self.is_residual else hidden
        dropped: Tensor = self.dropout(self.pool(hidden))
        return dropped

    def geometry(self, before: OutputGeometry) -> OutputGeometry:
        """Append the block to other layers, along one dimension."""
        convolved = before.after(self.kernel, self.stride, self.padding, self.dilation)
        return convolved.after(self.pool_size, self.pool_size)


def output_geometry(blocks: Sequence[ConvolutionBlock], size: int) -> OutputGeometry:
    """Tell how large the output of some blocks is for an input of `size` positions, and how far it looks."""
    geometry = OutputGeometry(size)
    for block in blocks:
        geometry = block.geometry(geometry)
    return geometry
