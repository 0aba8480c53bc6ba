"""KV cache of a Transformer decoder, shared by the hypotheses of a sentence, with a mask for each hypothesis.

Shapes: B sentences, K hypotheses of each, N = B * K rows, H heads, E = head_dim, D = H * E.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from seqlab.nn import kernels, masks

MIN_FREE_ENTRIES = 16
"""Minimum number of free entries after a cache has grown; a longer cache doubles."""


@dataclass(frozen=True)
class DecodingStep:
    """Shapes and mask of a decoding step of K hypotheses for each of B sentences, all at one position."""

    position: int | Tensor
    """Position of the input tokens: a number, or a tensor (1,) in a CUDA graph."""
    num_sentences: int
    """B."""
    num_rows: int
    """N."""
    bias: Tensor | None
    """(B, 1, K, L), added to attention scores: 0 at entries of a hypothesis's prefix, -inf elsewhere. L is the cache's
    length including this step. None: each hypothesis attends to all entries."""

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """Split x (N, parts * D) into heads: `parts` views (B, H, K, E)."""
        by_sentence = x.view(self.num_sentences, self.num_rows // self.num_sentences, parts, num_heads, -1)
        return by_sentence.permute(2, 0, 3, 1, 4).unbind(0)


class KeyValueCache:
    """KV cache of one layer: keys and values of all previous tokens, written in place (under inference_mode).

    The hypotheses of a sentence share one row of the cache. Each step appends one entry per hypothesis, and a mask
    selects the entries of a hypothesis's prefix. So nothing is copied when a search reorders hypotheses.
    """

    def __init__(self) -> None:
        self.entries: Tensor | None = None
        """(2, B, H, capacity, E): keys and values."""
        self.length = 0
        """Number of entries in use."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values, (B, H, K, E) each, and return all in use, (B, H, length, E) each."""
        start, added = self.length, key.size(2)
        self.length += added
        if self.entries is None or self.length > self.entries.size(3):
            self.entries = self._with_capacity(value, start, self.length + max(MIN_FREE_ENTRIES, start))
        keys, values = self.entries.unbind(0)
        keys.narrow(2, start, added).copy_(key)  # assignment by an index takes twice as long
        values.narrow(2, start, added).copy_(value)
        return keys.narrow(2, 0, self.length), values.narrow(2, 0, self.length)

    def select(self, rows: Tensor) -> None:
        """Keep, reorder and repeat rows (B',) int64; only the entries in use are copied."""
        if self.entries is not None:
            parts, _, *rest = self.entries.shape
            selected = self.entries.new_empty(parts, rows.numel(), *rest)
            torch.index_select(self.entries[:, :, :, : self.length], 1, rows, out=selected[:, :, :, : self.length])
            self.entries = selected

    def fork(self) -> "KeyValueCache":
        """Return an independent copy."""
        forked = KeyValueCache()
        if self.entries is not None:
            forked.entries, forked.length = self.entries.clone(), self.length
        return forked

    def _with_capacity(self, like: Tensor, length: int, capacity: int) -> Tensor:
        """Copy the first `length` entries to new memory for `capacity` entries; the other sizes are those of `like`."""
        batch, heads, _, head_dim = like.shape
        entries = like.new_empty(2, batch, heads, capacity, head_dim, dtype=kernels.cache_dtype(like))
        if self.entries is not None:
            entries[:, :, :, :length] = self.entries[:, :, :, :length]
        return entries


def kept_sentences(rows: Tensor, rows_before: int, sentences: int) -> Tensor | None:
    """Return the sentences (B',) that the selected rows (N',) int64 belong to; None if these are all B in order.

    Before the selection, there were `rows_before` rows, equally many for each of B sentences in order. If the selected
    rows are distributed unevenly over sentences, the sentence of each row is returned.
    """
    sentence_of_row = torch.div(rows, rows_before // sentences, rounding_mode="floor")
    kept, counts = torch.unique_consecutive(sentence_of_row, return_counts=True)
    if not bool((counts == counts[:1]).all()):
        kept = sentence_of_row
    is_unchanged = kept.numel() == sentences and torch.equal(kept, torch.arange(sentences, device=kept.device))
    return None if is_unchanged else kept


class DecoderCache:
    """KV caches of all decoder layers for N rows; the hypotheses of a sentence share them, with a mask for each."""

    def __init__(self, num_layers: int, sentences: int, *, may_share: bool = True) -> None:
        """Create empty caches.

        `may_share`: whether copies of a row share its cache if all sentences have equally many. It must be False if the
        rows are hypotheses that a search repeats and drops unevenly. Otherwise the other sentences would determine
        whether caches are shared, and attention rounds differently with shared and separate caches.
        """
        self.may_share = may_share
        self.layers = [KeyValueCache() for _ in range(num_layers)]
        self.num_sentences = sentences
        """B."""
        self.num_rows = sentences
        """N."""
        self.length = 0
        """Tokens of the prefix."""
        self.can_attend: Tensor | None = None
        """(N, L) bool: True for the cache entries that belong to the row's prefix; None: all entries do."""

    def begin_step(self, device: torch.device) -> DecodingStep:
        """Advance by one position; the step must then append one entry per hypothesis to each layer's cache."""
        position, beam, bias = self.length, self.num_rows // self.num_sentences, None
        if self.can_attend is None and beam > 1:
            self.can_attend = torch.ones(self.num_rows, self.layers[0].length, dtype=torch.bool, device=device)
        if self.can_attend is not None:
            new = torch.eye(beam, dtype=torch.bool, device=device).repeat(self.num_sentences, 1)
            self.can_attend = torch.cat([self.can_attend, new], dim=1)
            bias = masks.additive(self.can_attend.view(self.num_sentences, 1, beam, -1))
        self.length += 1
        return DecodingStep(position, self.num_sentences, self.num_rows, bias)

    def select(self, rows: Tensor) -> Tensor | None:
        """Keep, reorder or repeat rows (N',); caches are copied only if the sentences change.

        Returns the selected sentences (B',); None if they are unchanged.
        """
        if self.may_share:
            kept = kept_sentences(rows, self.num_rows, self.num_sentences)
        else:
            is_unchanged = rows.numel() == self.num_rows and torch.equal(
                rows, torch.arange(self.num_rows, device=rows.device)
            )
            kept = None if is_unchanged else rows
        if self.can_attend is not None:
            self.can_attend = self.can_attend[rows]
        self.num_rows = rows.numel()
        if kept is None:
            return None
        self.num_sentences = kept.numel()
        for cache in self.layers:  # one layer at a time, so that the next copy can reuse freed memory
            cache.select(kept)
        return kept

    def fork(self) -> "DecoderCache":
        """Return an independent copy."""
        forked = copy.copy(self)
        forked.layers = [cache.fork() for cache in self.layers]
        return forked
