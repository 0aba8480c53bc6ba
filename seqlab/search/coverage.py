"""What a translation leaves out of its source: the coverage penalty (Wu et al. 2016, arXiv:1609.08144, section 7).

    beta * sum over the source positions s of log(min(attention that s was given in all steps, 1))

Shapes: N rows, B sentences, S source positions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqlab.models.interfaces import padding_mask

LEAST = 1e-9
"""Attention below this counts as this much."""


class AttentionCoverage(NamedTuple):
    """How much attention each source position was given so far."""

    attention: Tensor
    """(N, S)"""
    counts: Tensor
    """(B, S) bool, False at padding and at what no hypothesis may hold, such as tags."""
    beta: float

    @classmethod
    def begin(
        cls, attention: Tensor, src: Tensor, src_lengths: Tensor, beta: float, banned_ids: Tensor
    ) -> "AttentionCoverage":
        """Begin with what the first step attends to, one row for each sentence (B, S) of ids src (B, S)."""
        return cls(attention, ~(padding_mask(src_lengths, src.size(1)) | torch.isin(src, banned_ids)), beta)

    def add(self, attention: Tensor) -> "AttentionCoverage":
        """Add what a step has attended to (N, S)."""
        return self._replace(attention=self.attention + attention)

    def select(self, rows: Tensor) -> "AttentionCoverage":
        """Keep, reorder and repeat rows (N',) int64."""
        return self._replace(attention=self.attention.index_select(0, rows))

    def penalties(self, sentences: Tensor) -> Tensor:
        """Give the penalty of each row, of the sentences (N,): (N,), at most 0; padding changes no last bit."""
        logs = self.attention.clamp(LEAST, 1.0).log().masked_fill(~self.counts[sentences], 0.0)
        return self.beta * logs.cumsum(1)[:, -1]
