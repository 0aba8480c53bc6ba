"""Coverage penalty for source tokens that are left untranslated (Wu et al. 2016, arXiv:1609.08144, section 7).

    beta * sum over the source positions s of log(min(attention to s summed over all steps, 1))

Shapes: N rows, B sentences, S source positions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqlab.nn.masks import padding_mask

MIN_COVERAGE = 1e-9
"""Lower bound of the summed attention, which keeps the logarithm finite."""


class AttentionCoverage(NamedTuple):
    """Attention to each source position, summed over the steps so far."""

    attention: Tensor
    """(N, S): sum over the steps so far."""
    is_counted: Tensor
    """(B, S) bool: False for padding and for banned ids, such as tags."""
    beta: float
    """Weight of the penalty."""

    @classmethod
    def from_first_step(
        cls, attention: Tensor, src: Tensor, src_lengths: Tensor, beta: float, banned_ids: Tensor
    ) -> "AttentionCoverage":
        """Start with the attention (B, S) of the first step, which has one row for each source of `src` (B, S)."""
        return cls(attention, ~(padding_mask(src_lengths, src.size(1)) | torch.isin(src, banned_ids)), beta)

    def add(self, attention: Tensor) -> "AttentionCoverage":
        """Add the attention (N, S) of a step."""
        return self._replace(attention=self.attention + attention)

    def select(self, rows: Tensor) -> "AttentionCoverage":
        """Select rows by index (N',) int64, in any order and with repetitions."""
        return self._replace(attention=self.attention.index_select(0, rows))

    def penalties(self, sentences: Tensor) -> Tensor:
        """Compute the penalty of each row: (N,), at most 0; `sentences` (N,) is the sentence of each row.

        A cumulative sum adds the positions in order, so zeros of padding at the end do not change the rounding.
        """
        logs = self.attention.clamp(MIN_COVERAGE, 1.0).log().masked_fill(~self.is_counted[sentences], 0.0)
        return self.beta * logs.cumsum(1)[:, -1]
