"""Heads that predict one of several labels, for each position or for a whole row.

Shapes: B rows, S positions, D hidden size, L labels.
"""

import torch
from torch import Tensor, nn

from seqlab.models.config import SequencePooling
from seqlab.models.outputs import DecoderOutput
from seqlab.nn.layers import LockedDropout
from seqlab.nn.masks import padding_mask
from seqlab.nn.projection import VocabularyProjection


class LabelHead(nn.Module):
    """Output layer for labels of words or lines."""

    def __init__(self, size: int, num_labels: int, pooling: SequencePooling | None, dropout: float) -> None:
        """`size`: D. `pooling`: None for labels of words."""
        super().__init__()
        self.pooling = pooling
        self.dropout = LockedDropout(dropout)
        self.projection = VocabularyProjection(nn.Parameter(torch.empty(num_labels, size).normal_(std=size**-0.5)))

    def forward(self, hidden: Tensor, lengths: Tensor) -> DecoderOutput:
        """hidden (B, S, D), lengths (B,) -> hidden states (B, S, D) of words, or (B, 1, D) of lines."""
        if self.pooling is not None:
            hidden = pool_sequence(hidden.float(), lengths, self.pooling)[:, None]
        return DecoderOutput(self.dropout(hidden), self.projection)


def pool_sequence(hidden: Tensor, lengths: Tensor, pooling: SequencePooling) -> Tensor:
    """Pool each row over its length: (B, S, D) -> (B, D). The result does not depend on padding, bit for bit."""
    is_padding = padding_mask(lengths, hidden.size(1))
    if pooling == "max":
        return hidden.masked_fill(is_padding[..., None], float("-inf")).amax(1)
    rows = torch.arange(len(hidden), device=hidden.device)[:, None].expand_as(is_padding)[~is_padding]
    sums = hidden.new_zeros(len(hidden), hidden.size(2)).index_add(0, rows, hidden[~is_padding])
    return sums / lengths[:, None]
