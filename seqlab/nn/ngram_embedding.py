"""Embeddings of token n-grams, added to those of single tokens (after Joulin et al. 2017, arXiv:1607.01759).

The class of a short text often depends on a phrase that occurs only a few times in training. A linear model over
n-grams learns it directly, while a recurrent network or attention has to compose it from words.

Shapes: N n-grams, G tokens of each, B lines, S tokens of a line, E embedding size.
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
UNUSED_TOKEN = -1
"""Token ids of unused rows."""
TOKENS_PER_BLOCK = 1 << 24
"""Tokens whose n-grams are counted at once."""


class NgramEmbedding(nn.Module):
    """Embed the n-gram that ends at each token; unknown n-grams get zeros, and all are unknown before `learn`.

    Each line is preceded by start symbols, so that its first tokens are in n-grams, too.
    """

    known: Tensor
    """(N, G) int64: token ids of the known n-grams."""

    def __init__(self, num_ngrams: int, length: int, vocab_size: int, size: int, *, std: float, dropout: float) -> None:
        """Build the table.

        Args:
            num_ngrams: maximum number of known n-grams.
            length: tokens of each n-gram.
            vocab_size: number of token ids.
            size: values of a vector.
            std: standard deviation of the initial vectors.
            dropout: probability of dropping all occurrences of an n-gram.

        Raises:
            ValueError: the n-grams cannot be numbered in 63 bits.
        """
        super().__init__()
        self.length, self.start_id = length, vocab_size
        self._base = vocab_size + 1
        if self._base**length >= 1 << 63:
            longest = int(63 / math.log2(self._base))
            raise ValueError(
                f"A vocabulary of {vocab_size:,} is too large for n-grams of {length} tokens: "
                f"`model.ngram_order` can be {longest} at most, unless the vocabulary is smaller."
            )
        self.weight = nn.Parameter(torch.empty(num_ngrams, size).normal_(std=std))
        self.register_buffer("known", torch.full((num_ngrams, length), UNUSED_TOKEN))
        self.dropout = EmbeddingDropout(dropout, num_ngrams)

    @torch.no_grad()
    def learn(self, tokens: NDArray[np.integer], offsets: NDArray[np.int64], *, min_count: int = 2) -> int:
        """Select the most frequent n-grams of a text and return their number.

        `tokens` are those of all lines, line i from `offsets[i]` to `offsets[i + 1]`. Of equally frequent n-grams those
        with lower ids are preferred. N-grams below `min_count` are left out: one that occurs once would always be known
        in training, but seldom in other text.
        """
        found, counts = self._count(tokens, offsets)
        found, counts = found[counts >= min_count], counts[counts >= min_count]
        kept = np.sort(found[np.argsort(-counts, kind="stable")[: len(self.known)]])
        rows = np.full(self.known.shape, UNUSED_TOKEN, np.int64)
        for i in range(self.length):
            rows[len(rows) - len(kept) :, i] = kept // self._base ** (self.length - 1 - i) % self._base
        self.known.copy_(torch.from_numpy(rows))
        return len(kept)

    def forward(self, src: Tensor) -> Tensor:
        """src (B, S) -> (B, S, E) in fp32."""
        known = self._encode(self.known.unbind(1))  # (N,), ascending, below zero where unused
        wanted = self._encode(
            [
                F.pad(src.long(), (back, 0), value=self.start_id)[:, : src.size(1)]
                for back in range(self.length - 1, -1, -1)
            ]
        )  # (B, S)
        rows = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
        is_known = known[rows] == wanted
        vectors = F.embedding(rows, self.weight).float() * is_known[..., None]
        return self.dropout(vectors, rows)

    def _encode(self, columns: Sequence[Ids]) -> Ids:
        """Encode n-grams as numbers in the order of their ids; `columns` holds the ids at each place of the n-gram."""
        numbers = columns[0]
        for ids in columns[1:]:
            numbers = numbers * self._base + ids
        return numbers

    def _count(
        self, tokens: NDArray[np.integer], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count all n-grams in blocks of whole lines: their numbers, ascending, and counts."""
        found, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        start = 0
        while start < len(offsets) - 1:
            end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + TOKENS_PER_BLOCK, side="right")) - 1)
            lines = offsets[start : end + 1]
            numbers = self._ngrams_at_ends(np.asarray(tokens[lines[0] : lines[-1]], np.int64), lines - lines[0])
            block_ngrams, block_counts = np.unique(numbers, return_counts=True)
            found, indices = np.unique(np.concatenate((found, block_ngrams)), return_inverse=True)
            counts = np.bincount(indices, np.concatenate((counts, block_counts)), len(found)).astype(np.int64)
            start = end
        return found, counts

    def _ngrams_at_ends(self, ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the n-gram that ends at each token."""
        positions = np.arange(len(ids)) - np.repeat(offsets[:-1], np.diff(offsets))  # in their lines

        def before(back: int) -> NDArray[np.int64]:
            shifted = np.concatenate((np.full(min(back, len(ids)), self.start_id), ids[: max(0, len(ids) - back)]))
            return np.where(positions >= back, shifted, self.start_id)

        return self._encode([before(back) for back in range(self.length - 1, -1, -1)])
