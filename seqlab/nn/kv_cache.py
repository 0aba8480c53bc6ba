"""KV cache with a per-hypothesis mask: the keys and values of what a Transformer has read.

Shapes: B sentences, K hypotheses of each, N = B * K rows, H heads, E = head_dim, D = H * E.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from seqlab.nn import kernels, masks

MIN_FREE_ENTRIES = 16
"""Entries that a cache has room for at least when it grows, to twice what it holds if that is more."""


@dataclass(frozen=True)
class DecodingStep:
    """The shapes and the mask of a decoding step: K hypotheses of each of B sentences, all at one position."""

    position: int | Tensor
    """Of the ids that are read: a number, or a tensor (1,) where a graph repeats the step."""
    num_sentences: int
    """B."""
    num_rows: int
    """N."""
    bias: Tensor | None
    """(B, 1, K, L): which of the cache's L entries, those of this step counted, a hypothesis goes back to; None: all.
    """

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(N, parts * D) -> `parts` views (B, H, K, E)."""
        by_sentence = x.view(self.num_sentences, self.num_rows // self.num_sentences, parts, num_heads, -1)
        return by_sentence.permute(2, 0, 3, 1, 4).unbind(0)


class KeyValueCache:
    """Keys and values of all that was read so far, (2, B, H, capacity, E), written in place (under inference_mode).

    The hypotheses of a sentence share a row: each step appends one entry for each of them, and which entries are a
    hypothesis's own past is decided by a mask. So nothing is copied when a search reorders hypotheses.
    """

    def __init__(self) -> None:
        self.entries: Tensor | None = None
        self.length = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values, (B, H, K, E) each, and return all so far, (B, H, length, E) each."""
        start, added = self.length, key.size(2)
        self.length += added
        if self.entries is None or self.length > self.entries.size(3):
            self.entries = self._with_capacity(value, start, self.length + max(MIN_FREE_ENTRIES, start))
        keys, values = self.entries.unbind(0)
        keys.narrow(2, start, added).copy_(key)  # by an index it would take twice as long
        values.narrow(2, start, added).copy_(value)
        return keys.narrow(2, 0, self.length), values.narrow(2, 0, self.length)

    def select(self, rows: Tensor) -> None:
        """Keep, reorder and repeat rows (B',) int64; only the positions in use are copied."""
        if self.entries is not None:
            parts, _, *rest = self.entries.shape
            selected = self.entries.new_empty(parts, rows.numel(), *rest)
            torch.index_select(self.entries[:, :, :, : self.length], 1, rows, out=selected[:, :, :, : self.length])
            self.entries = selected

    def fork(self) -> "KeyValueCache":
        """Copy, so that changes to one leave the other alone."""
        copy = KeyValueCache()
        if self.entries is not None:
            copy.entries, copy.length = self.entries.clone(), self.length
        return copy

    def _with_capacity(self, like: Tensor, length: int, capacity: int) -> Tensor:
        """Copy the first `length` positions to new memory for `capacity` of them, of the other sizes of `like`."""
        batch, heads, _, head_dim = like.shape
        copy = like.new_empty(2, batch, heads, capacity, head_dim, dtype=kernels.cache_dtype(like))
        if self.entries is not None:
            copy[:, :, :, :length] = self.entries[:, :, :, :length]
        return copy


def kept_sentences(rows: Tensor, rows_before: int, sentences: int) -> Tensor | None:
    """Tell which sentences (B',) rows (N',) int64 keep, of N that belong to B sentences in turn, equally many each.

    None where they are those from before. Where rows are unevenly shared, each gets a copy of its sentence.
    """
    sentence_of_row = torch.div(rows, rows_before // sentences, rounding_mode="floor")
    kept, counts = torch.unique_consecutive(sentence_of_row, return_counts=True)
    if not bool((counts == counts[:1]).all()):
        kept = sentence_of_row
    stays = kept.numel() == sentences and torch.equal(kept, torch.arange(sentences, device=kept.device))
    return None if stays else kept


class DecoderCache:
    """The KV caches of all layers for N rows: the hypotheses of a sentence share one, with a mask per hypothesis."""

    def __init__(self, num_layers: int, sentences: int, *, may_share: bool = True) -> None:
        """`may_share`: whether rows that come from one row share its cache, where all sentences have equally many.

        It must be False where the rows are already hypotheses, which a search repeats and drops unevenly: whether they
        happen to be even depends on the other sentences, and a shared cache rounds differently from one of one's own.
        """
        self.may_share = may_share
        self.layers = [KeyValueCache() for _ in range(num_layers)]
        self.num_sentences = sentences
        """B."""
        self.num_rows = sentences
        """N."""
        self.length = 0
        """Ids read so far."""
        self.can_attend: Tensor | None = None
        """(N, L) bool: which entries of its sentence's cache are a hypothesis's past; None: all of them."""

    def begin_step(self, device: torch.device) -> DecodingStep:
        """Count the next step and the entries that it will append to the caches."""
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
        """Keep, reorder or repeat rows (N',); caches are copied only where a sentence leaves.

        Returns which sentences (B',) are now there, None where they are those from before.
        """
        if self.may_share:
            kept = kept_sentences(rows, self.num_rows, self.num_sentences)
        else:
            stays = rows.numel() == self.num_rows and torch.equal(rows, torch.arange(self.num_rows, device=rows.device))
            kept = None if stays else rows
        if self.can_attend is not None:
            self.can_attend = self.can_attend[rows]
        self.num_rows = rows.numel()
        if kept is None:
            return None
        self.num_sentences = kept.numel()
        for cache in self.layers:  # one after the other, so that one copy's memory serves the next
            cache.select(kept)
        return kept

    def fork(self) -> "DecoderCache":
        """Copy, so that changes to one leave the other alone."""
        twin = copy.copy(self)
        twin.layers = [cache.fork() for cache in self.layers]
        return twin
