"""Embeddings of token n-grams, added to those of single tokens (after Joulin et al. 2017, arXiv:1607.01759).

The class of a short text often depends on a phrase that occurs only a few times in training. An n-gram embedding learns
the phrase directly, while a recurrent network or attention has to compose it from words.

Shapes: N n-grams, G tokens per n-gram, B lines, S tokens of a line, E embedding size.
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
"""Token id in the unused rows of the table of n-grams."""
TOKENS_PER_BLOCK = 1 << 24
"""Tokens whose n-grams are counted at once."""


class NgramEmbedding(nn.Module):
    """Embed the n-gram that ends at each token.

    Unknown n-grams get zeros. All n-grams are unknown before `select_frequent`. Each line is preceded by start tokens,
    so that n-grams also end at its first tokens.
    """

    known: Tensor
    """(N, G) int64: token ids of the n-grams that have embeddings."""

    def __init__(self, num_ngrams: int, length: int, vocab_size: int, size: int, *, std: float, dropout: float) -> None:
        """Build the table.

        Args:
            num_ngrams: maximum number of n-grams with embeddings.
            length: tokens of each n-gram.
            vocab_size: number of token ids.
            size: size of an embedding.
            std: standard deviation of the initial embeddings.
            dropout: probability of dropping all occurrences of an n-gram.

        Raises:
            ValueError: n-grams of this length cannot be encoded in 63 bits.
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
    def select_frequent(self, tokens: NDArray[np.integer], offsets: NDArray[np.int64], *, min_count: int = 2) -> int:
        """Select the most frequent n-grams of a text for the table and return their number.

        `tokens` holds the ids of all lines; line i is `tokens[offsets[i] : offsets[i + 1]]`. Of equally frequent
        n-grams those with lower ids are preferred. N-grams with a count below `min_count` are left out: an n-gram that
        occurs once in training seldom occurs in other text.
        """
        codes, counts = self._count(tokens, offsets)
        codes, counts = codes[counts >= min_count], counts[counts >= min_count]
        kept = np.sort(codes[np.argsort(-counts, kind="stable")[: len(self.known)]])
        rows = np.full(self.known.shape, UNUSED_TOKEN, np.int64)
        for i in range(self.length):
            rows[len(rows) - len(kept) :, i] = kept // self._base ** (self.length - 1 - i) % self._base
        self.known.copy_(torch.from_numpy(rows))
        return len(kept)

    def forward(self, src: Tensor) -> Tensor:
        """src (B, S) -> (B, S, E) in fp32."""
        known_codes = self._encode(self.known.unbind(1))  # (N,), ascending, below zero where unused
        src_codes = self._encode(
            [
                F.pad(src.long(), (shift, 0), value=self.start_id)[:, : src.size(1)]
                for shift in range(self.length - 1, -1, -1)
            ]
        )  # (B, S)
        rows = torch.searchsorted(known_codes, src_codes).clamp(max=len(known_codes) - 1)
        is_known = known_codes[rows] == src_codes
        vectors = F.embedding(rows, self.weight).float() * is_known[..., None]
        return self.dropout(vectors, rows)

    def _encode(self, columns: Sequence[Ids]) -> Ids:
        """Encode n-grams as integers in the order of their ids; `columns[i]` holds the i-th id of each n-gram."""
        codes = columns[0]
        for ids in columns[1:]:
            codes = codes * self._base + ids
        return codes

    def _count(
        self, tokens: NDArray[np.integer], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count all n-grams, in blocks of lines: return their codes in ascending order, and their counts."""
        codes, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        start = 0
        while start < len(offsets) - 1:
            end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + TOKENS_PER_BLOCK, side="right")) - 1)
            lines = offsets[start : end + 1]
            ids = np.asarray(tokens[lines[0] : lines[-1]], np.int64)
            block_codes, block_counts = np.unique(self._encode_lines(ids, lines - lines[0]), return_counts=True)
            codes, indices = np.unique(np.concatenate((codes, block_codes)), return_inverse=True)
            counts = np.bincount(indices, np.concatenate((counts, block_counts)), len(codes)).astype(np.int64)
            start = end
        return codes, counts

    def _encode_lines(self, ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the code of the n-gram that ends at each token of the lines."""
        positions = np.arange(len(ids)) - np.repeat(offsets[:-1], np.diff(offsets))  # of each token in its line

        def ids_before(shift: int) -> NDArray[np.int64]:
            """Return the id `shift` tokens before each token."""
            shifted = np.concatenate((np.full(min(shift, len(ids)), self.start_id), ids[: max(0, len(ids) - shift)]))
            return np.where(positions >= shift, shifted, self.start_id)

        return self._encode([ids_before(shift) for shift in range(self.length - 1, -1, -1)])
