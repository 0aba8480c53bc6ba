"""An encoder for every model that is an encoder and a head: each hidden state reads neighboring vectors."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from seqlab.models import SETTINGS, Encoder, EncoderConfig
from seqlab.nn import Linear
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NeighborsConfig(EncoderConfig):
    """A hyperbolic tangent of a linear map of each vector and those beside it."""

    family: Literal["neighbors"] = "neighbors"
    hidden_size: int = 32
    reads_next: bool = True
    """Whether the next vector is read, too; a language model must not read it."""

    @property
    def is_causal(self) -> bool:
        """Whether no later vector is read."""
        return not self.reads_next

    def build(self, input_size: int, max_length: int | None = None) -> "Neighbors":
        """Build the encoder."""
        return Neighbors(input_size, self.hidden_size, self.reads_next)


class Neighbors(Encoder):
    """Encoder of neighboring vectors."""

    def __init__(self, input_size: int, hidden_size: int, reads_next: bool) -> None:
        super().__init__()
        self.output_size, self.reads_next = hidden_size, reads_next
        self.project = Linear((3 if reads_next else 2) * input_size, hidden_size)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x (B, S, E), lengths (B,) -> hidden states (B, S, D) and the lengths."""
        if lengths is not None:
            x = x.masked_fill(padding_mask(lengths, x.size(1))[..., None], 0.0)
        windows = [F.pad(x, (0, 0, 1, 0))[:, :-1], x] + ([F.pad(x, (0, 0, 0, 1))[:, 1:]] if self.reads_next else [])
        return torch.tanh(self.project(torch.cat(windows, dim=2)).float()), lengths
