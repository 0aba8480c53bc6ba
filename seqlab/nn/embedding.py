"""Symbols to vectors: what a Transformer reads."""

import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.dropout import Dropout
from seqlab.nn.positions import PositionKind, make_positions


class Embedding(nn.Module):
    """A lookup scaled by the root of its width, positions, dropout; the result is fp32 whatever the weight's dtype."""

    def __init__(self, weight: nn.Parameter, positions: PositionKind, max_length: int, dropout: float) -> None:
        super().__init__()
        self.weight = weight
        self.scale = weight.size(1) ** 0.5
        self.positions = make_positions(positions, weight.size(1), max_length)
        self.dropout = Dropout(dropout)

    def looked_up(self, ids: Tensor) -> Tensor:
        """Give the scaled vectors alone: ids (...) -> (..., D) in fp32."""
        return F.embedding(ids, self.weight).float() * self.scale

    def forward(self, ids: Tensor, start: int = 0, places: Tensor | None = None) -> Tensor:
        """ids (B, T) at positions start ..., or at `places` (B, T) -> (B, T, D)."""
        return self.placed(self.looked_up(ids), start, places)

    def placed(self, x: Tensor, start: int = 0, places: Tensor | None = None) -> Tensor:
        """Add positions to scaled vectors x (B, T, D), and drop some of their elements."""
        return self.dropout(x if self.positions is None else self.positions(x, start, places))
