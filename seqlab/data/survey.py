"""One look at the raw text, before any tokenizer exists: 64-bit hashes of all lines, and what follows from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seqlab.data.parallel import ParallelCorpus, in_batches

READ_LINES = 10_000
SMOOTHING_CHARS = 10
"""Added to both sides of a length ratio, so that "Yes." may be answered by a short sentence."""

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Survey:
    """What is remembered of a corpus: 16 bytes per pair."""

    corpus: ParallelCorpus
    src_hashes: Hashes  # (pairs,), 0 where the side is empty
    tgt_hashes: Hashes  # (pairs,)
    chars_ratio: float  # typical target characters per source character, smoothed

    def __len__(self) -> int:
        return len(self.src_hashes)

    @property
    def empty(self) -> Mask:
        """Return which pairs lack a side."""
        return (self.src_hashes == 0) | (self.tgt_hashes == 0)

    @property
    def copies(self) -> Mask:
        """Return which pairs have a target equal to their source."""
        return (self.src_hashes == self.tgt_hashes) & ~self.empty

    @property
    def pair_hashes(self) -> Hashes:
        """Return one hash per pair in which the order of the sides counts."""
        # An odd factor is a bijection of the 64-bit numbers, so no bit of the source is lost; overflow is intended.
        return self.src_hashes * np.uint64(0x9E3779B97F4A7C15) + self.tgt_hashes

    def select(self, mask: Mask) -> Survey:
        """Return the survey of some of the pairs."""
        return replace(self, src_hashes=self.src_hashes[mask], tgt_hashes=self.tgt_hashes[mask])

    def ratio_outliers(self, src_chars: NDArray[np.int64], tgt_chars: NDArray[np.int64], limit: float) -> Mask:
        """Return which pairs' length ratio is more than `limit` times above or below the corpus's own."""
        ratio = (tgt_chars + SMOOTHING_CHARS) / (src_chars + SMOOTHING_CHARS) / self.chars_ratio
        return np.asarray((ratio > limit) | (ratio < 1 / limit))


def survey(corpus: ParallelCorpus) -> Survey:
    """Read a corpus once.

    Raises:
        ValueError, FileNotFoundError: it cannot be read, its sides are of unequal length or it is empty.
    """
    src_parts: list[Hashes] = []
    tgt_parts: list[Hashes] = []
    src_chars = tgt_chars = 0
    for batch in in_batches(corpus.pairs(), READ_LINES):
        src_lines, tgt_lines = zip(*batch, strict=True)
        src_parts.append(hash_lines(src_lines))
        tgt_parts.append(hash_lines(tgt_lines))
        filled = (src_parts[-1] != 0) & (tgt_parts[-1] != 0)
        src_chars += int((char_lengths(src_lines) + SMOOTHING_CHARS)[filled].sum())
        tgt_chars += int((char_lengths(tgt_lines) + SMOOTHING_CHARS)[filled].sum())
    if not src_parts:
        raise ValueError(f"{corpus.src} and {corpus.tgt}: hold no lines.")
    ratio = tgt_chars / src_chars if src_chars else 1.0
    return Survey(corpus, np.concatenate(src_parts), np.concatenate(tgt_parts), ratio)


def hash_lines(lines: Sequence[str]) -> Hashes:
    """Return 64 bits of each line, spaces around it not counted; 0 stands for an empty line."""
    stripped = [line.strip().encode("utf-8") for line in lines]
    digests = b"".join(hashlib.blake2b(line, digest_size=8).digest() if line else bytes(8) for line in stripped)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def char_lengths(lines: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter((len(line) for line in lines), np.int64, len(lines))


def duplicates(surveys: Sequence[Survey]) -> list[Mask]:
    """Return, for each corpus, which pairs repeat one before them in it or in a corpus before it."""
    hashes = np.concatenate([each.pair_hashes for each in surveys])
    empty = np.concatenate([each.empty for each in surveys])
    _, first = np.unique(hashes, return_index=True)
    repeated = ~empty
    repeated[first] = False
    return np.split(repeated, np.cumsum([len(each) for each in surveys])[:-1])


@dataclass(frozen=True)
class ValidationSplit:
    """Which pairs are held out: those whose source hash is small, so that it depends on the text alone.

    All pairs of such a source leave the training set, so neither a duplicate nor another translation of a validation
    source is trained on; the first of them is validated on.
    """

    threshold: np.uint64

    @classmethod
    def choose(cls, surveys: Sequence[Survey], fraction: float, max_pairs: int) -> ValidationSplit:
        """Hold out a fraction of the different sources, `max_pairs` at most.

        Raises:
            ValueError: there are not two different sources.
        """
        sources = np.unique(np.concatenate([each.src_hashes[~each.empty] for each in surveys]))
        if len(sources) < 2:
            names = ", ".join(str(each.corpus.src) for each in surveys)
            raise ValueError(
                f"{names}: a validation set cannot be split off {len(sources)} different source lines; give "
                "`valid_src` and `valid_tgt`, or more text."
            )
        size = min(max(1, round(fraction * len(sources))), max_pairs, len(sources) - 1)
        return cls(sources[size - 1])

    def holds(self, src_hashes: Hashes) -> Mask:
        """Return which of some source lines are held out."""
        return np.asarray((src_hashes <= self.threshold) & (src_hashes != 0))

    def first_of_each(self, surveys: Sequence[Survey]) -> list[Mask]:
        """Return, for each corpus, which pairs are the first whole one of a held-out source."""
        sources = np.concatenate([each.src_hashes for each in surveys])
        empty = np.concatenate([each.empty for each in surveys])
        candidates = np.flatnonzero(self.holds(sources) & ~empty)
        _, first = np.unique(sources[candidates], return_index=True)
        chosen = np.zeros(len(sources), np.bool_)
        chosen[candidates[first]] = True
        return np.split(chosen, np.cumsum([len(each) for each in surveys])[:-1])
