"""Head for numbers, classes or labels of a row: pooling over its positions and a linear layer.

Shapes: B rows, S positions, D hidden size, O outputs.
"""

from typing import Literal

from torch import Tensor, inf, nn

from seqlab.nn.layers import Dropout, Linear
from seqlab.nn.masks import padding_mask

PooledBy = Literal["last", "mean", "max"]
"""Reduction of a sequence of vectors to one: the last one, the mean, or the maximum of each feature."""


class OutputHead(nn.Module):
    """Pooling, dropout and a linear layer."""

    def __init__(self, size: int, outputs: int, pooling: PooledBy, dropout: float = 0.0) -> None:
        """`size`: D."""
        super().__init__()
        self.pooling = pooling
        self.dropout = Dropout(dropout)
        self.project = Linear(size, outputs)

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        """hidden (B, S, D), lengths (B,) or None for rows without padding -> outputs (B, O)."""
        outputs: Tensor = self.project(self.dropout(self._pool(hidden, lengths)))
        return outputs

    def _pool(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            if self.pooling == "last":
                return hidden[:, -1]
            return hidden.mean(1) if self.pooling == "mean" else hidden.amax(1)
        if self.pooling == "last":
            return hidden.take_along_dim(lengths[:, None, None] - 1, dim=1)[:, 0]
        is_padding = padding_mask(lengths, hidden.size(1))[..., None]
        if self.pooling == "mean":
            return hidden.masked_fill(is_padding, 0).sum(1) / lengths[:, None]
        return hidden.masked_fill(is_padding, -inf).amax(1)
