"""Dropout whose mask stays for a whole sequence or a whole batch: what recurrent networks are regularised with."""

import torch
from torch import Tensor, nn

from seqlab.nn.dropout import Dropout, dropout


class LockedDropout(Dropout):
    """Drop the same features at all positions of a sequence (Gal & Ghahramani 2016, arXiv:1512.05287)."""

    def __init__(self, p: float, time_dim: int = 1) -> None:
        super().__init__(p)
        self.time_dim = time_dim

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D), or (T, B, D) with `time_dim` 0; the identity in evaluation mode and for p = 0."""
        if not self.training or self.p == 0:
            return x
        shape = [1 if dim == self.time_dim else size for dim, size in enumerate(x.shape)]
        return x * dropout(x.new_ones(shape), self.p)


class EmbeddingDropout(nn.Module):
    """Drop whole rows of an embedding matrix: a symbol vanishes wherever it occurs in the batch.

    Gal & Ghahramani 2016; AWD-LSTM's `dropoute` (Merity et al. 2018, arXiv:1708.02182). The mask is applied to what was
    looked up, which spares a copy of the matrix. Raises ValueError where p is not in [0, 1).
    """

    def __init__(self, p: float, vocab_size: int) -> None:
        super().__init__()
        self.rows = Dropout(p)
        self.vocab_size = vocab_size

    def draw(self, device: torch.device) -> Tensor | None:
        """Draw which symbols stay, and how much they are scaled: (V, 1); None in evaluation mode and for p = 0."""
        if not self.training or self.rows.p == 0:
            return None
        return self.rows(torch.ones(self.vocab_size, 1, device=device))

    def forward(self, embedded: Tensor, ids: Tensor) -> Tensor:
        """embedded (..., D) of ids (...) below `vocab_size` -> (..., D); the identity in evaluation and for p = 0."""
        rows = self.draw(embedded.device)
        return embedded if rows is None else embedded * rows[ids]
