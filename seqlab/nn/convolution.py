"""Convolution blocks for sequences and images, their output sizes and receptive fields.

Shapes: B examples, C channels, L positions, H and W height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from seqlab.nn.feature_norm import FeatureNorm, make_feature_norm
from seqlab.nn.layers import Dropout, Nonlinearity, initialize_for, make_nonlinearity

Padding = Literal["same", "valid"]
"""`same`: zeros are added, so that a stride of 1 keeps the size. `valid`: no padding."""
Pooling = Literal["none", "max", "mean"]


@dataclass(frozen=True)
class OutputGeometry:
    """Output size, receptive field and total stride of stacked convolutions, along one dimension."""

    size: int
    """Output positions."""
    receptive_field: int = 1
    """Input positions that one output position depends on."""
    stride: int = 1
    """Distance, in input positions, between the receptive fields of neighboring outputs."""

    def after(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "OutputGeometry":
        """Return the geometry after one more convolution or pooling (Dumoulin & Visin 2016, arXiv:1603.07285)."""
        extent = dilation * (kernel - 1)
        size = (self.size + 2 * padding - extent - 1) // stride + 1
        return OutputGeometry(max(0, size), self.receptive_field + extent * self.stride, self.stride * stride)


def same_padding(kernel: int, dilation: int = 1) -> int:
    """Return the number of zeros to add at each end, so that a stride of 1 keeps the size.

    Raises:
        ValueError: the kernel is even.
    """
    if kernel % 2 == 0:
        raise ValueError(f"`padding: same` needs an odd `kernel`, but it is {kernel} instead.")
    return dilation * (kernel - 1) // 2


class ConvolutionBlock(nn.Module):
    """Convolution, norm, activation, pooling and dropout, with an optional residual connection."""

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
        """Build the layers.

        `dimensions`: 1 for inputs (B, C, L), 2 for (B, C, H, W). `residual`: add the input to the activations if the
        convolution keeps its shape.
        """
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
        """Return the geometry after this block, along one dimension, from the geometry `before` it."""
        convolved = before.after(self.kernel, self.stride, self.padding, self.dilation)
        return convolved.after(self.pool_size, self.pool_size)


def output_geometry(blocks: Sequence[ConvolutionBlock], size: int) -> OutputGeometry:
    """Return the output size and receptive field of stacked blocks for an input of `size` positions."""
    geometry = OutputGeometry(size)
    for block in blocks:
        geometry = block.geometry(geometry)
    return geometry
