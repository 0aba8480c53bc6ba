"""Convolutional encoder: filters of several widths at each position (Kim 2014, D14-1181).

Shapes: B rows, S positions, E input size, D filters of all widths.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.encoder import Encoder, EncoderConfig
from seqlab.nn.layers import Dropout, Linear, initialize_for
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CnnEncoderConfig(EncoderConfig):
    """An encoder of one layer of convolutions of several widths, each followed by ReLU."""

    family: Literal["cnn"] = "cnn"
    """Name of the encoder family."""
    widths: Annotated[tuple[Size, ...], Field(min_length=1)] = (3, 4, 5)
    """Filter width in positions of each convolution."""
    num_filters: Size = 100
    """Number of filters per width."""
    dropout: Probability = 0.3
    """Dropout probability of the inputs."""

    embedding_range: ClassVar[float | None] = 0.25

    @model_validator(mode="after")
    def _check(self) -> "CnnEncoderConfig":
        if len(set(self.widths)) < len(self.widths):
            raise ValueError(f"`widths` must be distinct, but are {list(self.widths)}.")
        return self

    def build(self, input_size: int, max_length: int | None = None) -> "ConvolutionEncoder":
        """Build the encoder."""
        return ConvolutionEncoder(self, input_size)


class ConvolutionEncoder(Encoder):
    """Convolutions over windows of positions.

    Each convolution is a linear layer over a matrix with one window per row, so that results are bitwise independent of
    the batch.
    """

    def __init__(self, config: CnnEncoderConfig, input_size: int) -> None:
        super().__init__()
        self.output_size = len(config.widths) * config.num_filters
        self.dropout = Dropout(config.dropout)
        self.widths = config.widths
        self.filters = nn.ModuleList(Linear(width * input_size, config.num_filters) for width in config.widths)
        for layer in self.filters:
            assert isinstance(layer, Linear)
            initialize_for(layer, "relu")

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x (B, S, E), lengths (B,) -> hidden states (B, S, D) and the lengths."""
        x = self.dropout(x)
        if lengths is not None:  # zeros, like the padding that F.pad adds
            x = x.masked_fill(padding_mask(lengths, x.size(1))[..., None], 0.0)
        features = []
        for width, filters in zip(self.widths, self.filters, strict=True):
            padded = F.pad(x, (0, 0, (width - 1) // 2, width // 2))
            windows = torch.cat([padded[:, start : start + x.size(1)] for start in range(width)], dim=2)
            features.append(torch.relu(filters(windows).float()))
        return torch.cat(features, dim=2), lengths
