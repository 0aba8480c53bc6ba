"""Vectors of word pairs, triples and so on, beside those of the words (after Joulin et al. 2017, arXiv:1607.01759).

What tells a short text's kind is often a phrase of a few words that training shows a few times. A linear model over
such n-grams sees it at once, while a recurrent network or attention has to put it together from its words.

Shapes: N n-grams that are known, G words of each, B lines, S words, E embedding size.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seqlab.nn.locked_dropout import EmbeddingDropout

UNUSED = -1
"""What rows hold that no n-gram needs."""
LARGEST_ID = 1 << 24
"""Ids are kept in fp32, as weights are."""


class NgramEmbedding(nn.Module):
    """The vector of the n-gram that ends at each word, zero where it is not known: none is before `learn`.

    Before a line stand marks of its beginning, so that the first words make n-grams, too.
    """

    def __init__(self, num_ngrams: int, length: int, vocab_size: int, size: int, *, std: float, dropout: float) -> None:
        """`num_ngrams`: known at most, `length`: words of each, `std`: of random vectors, `dropout`: of whole n-grams.

        Raises:
            ValueError: the vocabulary is too large for n-grams of this length to be numbered.
        """
        super().__init__()
        self.length, self.start_id = length, vocab_size
        if vocab_size >= LARGEST_ID or (vocab_size + 1) ** length >= 1 << 63:
            raise ValueError(
                f"A vocabulary of {vocab_size:,} is too large for n-grams of {length} words: lower `model.ngram_order` "
                "or `data.tokenizer.vocab_size`."
            )
        self.weight = nn.Parameter(torch.empty(num_ngrams, size).normal_(std=std))
        self.known = nn.Parameter(torch.full((num_ngrams, length), float(UNUSED)), requires_grad=False)  # (N, G)
        self.dropout = EmbeddingDropout(dropout, num_ngrams)

    @torch.no_grad()
    def learn(self, words: NDArray[np.integer], offsets: NDArray[np.int64], *, min_count: int = 2) -> int:
        """Know from now on the most frequent n-grams of a text; return how many.

        `words` (sum of lengths,) lie end to end, line i from `offsets[i]` to `offsets[i + 1]`. Of n-grams that are
        equally frequent those with lower ids come first. What training shows once would always be known there, and
        seldom later: it is left out.
        """
        numbers = self._numbers(words, offsets)
        found, counts = np.unique(numbers, return_counts=True)
        found, counts = found[counts >= min_count], counts[counts >= min_count]
        kept = np.sort(found[np.argsort(-counts, kind="stable")[: len(self.known)]])
        rows = np.full(self.known.shape, UNUSED, np.int64)
        for place in range(self.length):
            rows[len(rows) - len(kept) :, place] = kept // self._base ** (self.length - 1 - place) % self._base
        self.known.copy_(torch.from_numpy(rows))
        return len(kept)

    def forward(self, src: Tensor) -> Tensor:
        """src (B, S) -> (B, S, E) in fp32."""
        window = F.pad(src.long(), (self.length - 1, 0), value=self.start_id).unfold(1, self.length, 1)  # (B, S, G)
        known, wanted = self._number(self.known.detach().long()), self._number(window)  # (N,), (B, S)
        rows = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
        is_known = known[rows] == wanted
        vectors = F.embedding(rows, self.weight).float() * is_known[..., None]
        return self.dropout(vectors, rows)

    @property
    def _base(self) -> int:
        return self.start_id + 1

    def _number(self, ids: Tensor) -> Tensor:
        """Number n-grams (..., G) in the order of their ids: (...) int64, below zero for rows that are not used."""
        numbers = ids[..., 0]
        for place in range(1, self.length):
            numbers = numbers * self._base + ids[..., place]
        return numbers

    def _numbers(self, words: NDArray[np.integer], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number the n-grams that end at each word as `_number` does."""
        ids = np.asarray(words, np.int64)
        places = np.arange(len(ids)) - np.repeat(offsets[:-1], np.diff(offsets))  # in their lines
        numbers = np.zeros(len(ids), np.int64)
        for back in range(self.length - 1, -1, -1):
            before = np.concatenate((np.full(min(back, len(ids)), self.start_id), ids[: len(ids) - back]))
            numbers = numbers * self._base + np.where(places >= back, before, self.start_id)
        return numbers
