"""Convolutional networks for images and for sequences of vectors.

Shapes: B examples, C channels, F frames of D features each (D are the channels), H and W height and width,
O outputs (numbers, classes or labels).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import CountOrZero
from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.nn.convolution import ConvolutionBlock, Padding, Pooling, output_geometry, same_padding
from seqlab.nn.feature_norm import FeatureNorm
from seqlab.nn.layers import Dropout, Linear, Nonlinearity


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CnnConfig(PredictorConfig):
    """Convolutions over images, sequences or windows of a time series, then a linear layer."""

    family: Literal["cnn"] = "cnn"
    """Name of the model family."""
    channels: Annotated[tuple[Size, ...], Field(min_length=1)] = (32, 64)
    """Output channels of each convolution."""
    kernel: Size = 3
    """Kernel size in positions, in each direction for images."""
    stride: Size = 1
    """Stride in positions."""
    padding: Padding = "same"
    """Padding of a convolution: zeros on all sides of its input (`same`), or none (`valid`)."""
    dilation: Size = 1
    """Distance in positions between the elements of a kernel."""
    pooling: Pooling = "max"
    """Pooling after a convolution: the maximum or the mean of each window of `pool_size`, or none."""
    pool_size: Size = 2
    """Pooling window in positions, in each direction for images."""
    pooled_blocks: CountOrZero | None = None
    """Number of convolutions that are followed by pooling, counted from the last; null for all."""
    residual: bool = False
    """Whether convolutions that keep the shape have a residual connection (He et al. 2016)."""
    activation: Nonlinearity = "relu"
    """Activation function after each convolution."""
    norm: FeatureNorm = "none"
    """Norm after each convolution."""
    dropout: Probability = 0.0
    """Dropout probability after each convolution."""
    output: Literal["flatten", "mean", "max"] = "flatten"
    """Input of the linear layer: all features of the last convolution (`flatten`), or their `mean` or `max` over
    positions, which makes the outputs independent of position."""
    output_dropout: Probability = 0.0
    """Dropout probability before the linear layer."""

    @model_validator(mode="after")
    def _check(self) -> "CnnConfig":
        if self.padding == "same":
            same_padding(self.kernel)
        if self.pooled_blocks is not None and self.pooled_blocks > len(self.channels):
            raise ValueError(
                f"`pooled_blocks` ({self.pooled_blocks}) must be at most the number of convolutions "
                f"({len(self.channels)})."
            )
        return self

    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if the convolutions leave no positions of an example."""
        self._sizes(self._blocks(shape), shape)

    def build(self, src: InputSide, tgt: TargetSide) -> "Cnn":
        """Build the model."""
        blocks = self._blocks(src.shape)
        sizes = self._sizes(blocks, src.shape)
        positions = 1
        for size in sizes if self.output == "flatten" else ():
            positions *= size
        return Cnn(self, blocks, self.channels[-1] * positions, tgt.size)

    def _blocks(self, shape: tuple[int, ...]) -> list[ConvolutionBlock]:
        is_image = len(shape) == 3
        channels = (shape[0] if is_image else shape[1], *self.channels)
        first_pooled = 0 if self.pooled_blocks is None else len(self.channels) - self.pooled_blocks
        return [
            ConvolutionBlock(
                2 if is_image else 1,
                channels[i],
                channels[i + 1],
                kernel=self.kernel,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
                norm=self.norm,
                activation=self.activation,
                pooling=self.pooling if i >= first_pooled else "none",
                pool_size=self.pool_size,
                dropout=self.dropout,
                residual=self.residual,
            )
            for i in range(len(self.channels))
        ]

    def _sizes(self, blocks: list[ConvolutionBlock], shape: tuple[int, ...]) -> list[int]:
        """Compute the output size of the convolutions in each direction; raises ValueError if it is 0."""
        lengths = shape[1:] if len(shape) == 3 else shape[:1]
        sizes = [output_geometry(blocks, length).size for length in lengths]
        if 0 in sizes:
            raise ValueError(
                f"{len(blocks)} convolutions with pooling reduce {' by '.join(map(str, lengths))} positions to 0: "
                "use fewer convolutions (`model.channels`), or set `model.pooling: none` or `model.padding: same`."
            )
        return sizes


class Cnn(nn.Module):
    """Convolutional network with a linear output layer; implements `Predictor`."""

    def __init__(self, config: CnnConfig, blocks: list[ConvolutionBlock], features: int, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.output = config.output
        self.output_dropout = Dropout(config.output_dropout)
        self.project = Linear(features, outputs)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the outputs of a batch: (B, O)."""
        x = batch.src if batch.src.dim() == 4 else batch.src.transpose(1, 2)  # (B, C, H, W), or (B, D, F)
        features = self.blocks(x).flatten(2)  # (B, C, positions)
        if self.output == "flatten":
            features = features.flatten(1)
        else:
            features = features.mean(2) if self.output == "mean" else features.amax(2)
        outputs: Tensor = self.project(self.output_dropout(features))
        return outputs
