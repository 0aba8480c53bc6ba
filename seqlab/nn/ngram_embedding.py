"""Vectors of pairs and triples of words, beside those of the words (after Joulin et al. 2017, arXiv:1607.01759).

What tells a short text's kind is often a phrase of a few words that training shows a few times. A linear model over
such n-grams sees it at once, while a recurrent network or attention has to put it together from its words.

Shapes: N n-grams that are known, G tokens of each, B lines, S tokens of a line, E embedding size.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seqlab.nn.layers import EmbeddingDropout

Ids = TypeVar("Ids", Tensor, NDArray[np.int64])
UNUSED = -1
"""What rows hold that no n-gram needs."""
COUNTED_TOKENS = 1 << 24
"""Tokens that are counted at a time."""


class NgramEmbedding(nn.Module):
    """The vector of the n-gram that ends at each token, zero where it is not known: none is before `learn`.

    Before a line stand marks of its beginning, so that the first tokens make n-grams, too.
    """

    known: Tensor
    """(N, G) int64: the ids of the n-grams that are known."""

    def __init__(self, num_ngrams: int, length: int, vocab_size: int, size: int, *, std: float, dropout: float) -> None:
        """`num_ngrams`: known at most, `length`: tokens of each, `std`: of random vectors, `dropout`: of whole n-grams.

        Raises:
            ValueError: the vocabulary is too large for n-grams of this length to be numbered.
        """
        super().__init__()
        self.length, self.start_id = length, vocab_size
        self._base = vocab_size + 1
        if self._base**length >= 1 << 63:
            longest = int(63 / math.log2(self._base))
            raise ValueError(
                f"A vocabulary of {vocab_size:,} is too large for n-grams of {length} tokens to be numbered: "
                f"`model.ngram_order` can be {longest} at most, unless the vocabulary is smaller."
            )
        self.weight = nn.Parameter(torch.empty(num_ngrams, size).normal_(std=std))
        self.register_buffer("known", torch.full((num_ngrams, length), UNUSED))
        self.dropout = EmbeddingDropout(dropout, num_ngrams)

    @torch.no_grad()
    def learn(self, tokens: NDArray[np.integer], offsets: NDArray[np.int64], *, min_count: int = 2) -> int:
        """Know from now on the most frequent n-grams of a text; return how many.

        `tokens` (sum of lengths,) lie end to end, line i from `offsets[i]` to `offsets[i + 1]`. Of n-grams that are
        equally frequent those with lower ids come first. What training shows once would always be known there, and
        seldom later: it is left out.
        """
        found, counts = self._counts(tokens, offsets)
        found, counts = found[counts >= min_count], counts[counts >= min_count]
        kept = np.sort(found[np.argsort(-counts, kind="stable")[: len(self.known)]])
        rows = np.full(self.known.shape, UNUSED, np.int64)
        for place in range(self.length):
            rows[len(rows) - len(kept) :, place] = kept // self._base ** (self.length - 1 - place) % self._base
        self.known.copy_(torch.from_numpy(rows))
        return len(kept)

    def forward(self, src: Tensor) -> Tensor:
        """src (B, S) -> (B, S, E) in fp32."""
        known = self._numbers(self.known.unbind(1))  # (N,), ascending, below zero where unused
        wanted = self._numbers(
            [
                F.pad(src.long(), (back, 0), value=self.start_id)[:, : src.size(1)]
                for back in range(self.length - 1, -1, -1)
            ]
        )  # (B, S)
        rows = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
        is_known = known[rows] == wanted
        vectors = F.embedding(rows, self.weight).float() * is_known[..., None]
        return self.dropout(vectors, rows)

    def _numbers(self, places: Sequence[Ids]) -> Ids:
        """Number n-grams in the order of their ids, which come place by place."""
        numbers = places[0]
        for ids in places[1:]:
            numbers = numbers * self._base + ids
        return numbers

    def _counts(
        self, tokens: NDArray[np.integer], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the numbers of all n-grams, ascending, and how often each occurs, block after block of whole lines."""
        found, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        start = 0
        while start < len(offsets) - 1:
            end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + COUNTED_TOKENS, side="right")) - 1)
            lines = offsets[start : end + 1]
            numbers = self._ends(np.asarray(tokens[lines[0] : lines[-1]], np.int64), lines - lines[0])
            here, here_counts = np.unique(numbers, return_counts=True)
            found, places = np.unique(np.concatenate((found, here)), return_inverse=True)
            counts = np.bincount(places, np.concatenate((counts, here_counts)), len(found)).astype(np.int64)
            start = end
        return found, counts

    def _ends(self, ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number the n-gram that ends at each token."""
        places = np.arange(len(ids)) - np.repeat(offsets[:-1], np.diff(offsets))  # in their lines

        def before(back: int) -> NDArray[np.int64]:
            shifted = np.concatenate((np.full(min(back, len(ids)), self.start_id), ids[: max(0, len(ids) - back)]))
            return np.where(places >= back, shifted, self.start_id)

        return self._numbers([before(back) for back in range(self.length - 1, -1, -1)])
