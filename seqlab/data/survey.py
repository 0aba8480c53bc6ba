"""One look at the raw text, before any tokenizer exists: 64-bit hashes of all lines, and what follows from them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqlab.data.parallel import PairBlock, ParallelCorpus
from seqlab.data.workers import Workers

OnProgress = Callable[[str, int, int | None], None]
"""Called with what is counted, how many of them are done, and how many there are where that is known."""

SMOOTHING_CHARS = 10
"""Added to both sides of a length ratio, so that "Yes." may be answered by a short sentence."""


def no_progress(units: str, done: int, total: int | None) -> None:
    """Show nothing."""


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


def survey(corpus: ParallelCorpus, workers: Workers | None = None, on_progress: OnProgress = no_progress) -> Survey:
    """Read a corpus once.

    Raises:
        ValueError, FileNotFoundError: it cannot be read, its sides are of unequal length or it is empty.
    """
    parts: list[_Part] = []
    sizes: deque[int | None] = deque()  # the estimates that come with the blocks; those are then elsewhere
    done = 0

    def blocks() -> Iterator[PairBlock]:
        read = 0
        for block in corpus.blocks():
            read += len(block)
            sizes.append(block.corpus_size(read))
            yield block

    for part in (workers or Workers(1)).map(_survey_block, blocks()):
        parts.append(part)
        done += len(part.src_hashes)
        on_progress("pairs read", done, sizes.popleft())
    if not parts:
        raise ValueError(f"{corpus.src} and {corpus.tgt}: hold no lines.")
    src_chars, tgt_chars = sum(part.src_chars for part in parts), sum(part.tgt_chars for part in parts)
    return Survey(
        corpus,
        np.concatenate([part.src_hashes for part in parts]),
        np.concatenate([part.tgt_hashes for part in parts]),
        tgt_chars / src_chars if src_chars else 1.0,
    )


class _Part(NamedTuple):
    """What is seen in a block."""

    src_hashes: Hashes
    tgt_hashes: Hashes
    src_chars: int  # smoothed, of whole pairs
    tgt_chars: int


def _survey_block(block: PairBlock) -> _Part:
    src_lines, tgt_lines = block.lines()
    src_hashes, tgt_hashes = hash_lines(src_lines), hash_lines(tgt_lines)
    filled = (src_hashes != 0) & (tgt_hashes != 0)
    src_chars, tgt_chars = (
        int((char_lengths(lines) + SMOOTHING_CHARS)[filled].sum()) for lines in (src_lines, tgt_lines)
    )
    return _Part(src_hashes, tgt_hashes, src_chars, tgt_chars)


def ratio_outliers(src_chars: NDArray[np.int64], tgt_chars: NDArray[np.int64], typical: float, limit: float) -> Mask:
    """Return which pairs' length ratio is more than `limit` times above or below that of their corpus."""
    ratio = (tgt_chars + SMOOTHING_CHARS) / (src_chars + SMOOTHING_CHARS) / typical
    return np.asarray((ratio > limit) | (ratio < 1 / limit))


def hash_lines(lines: Sequence[str]) -> Hashes:
    """Return 64 bits of each line, spaces around it not counted; 0 stands for an empty line."""
    stripped = [line.strip().encode("utf-8") for line in lines]
    digests = b"".join(hashlib.blake2b(line, digest_size=8).digest() if line else bytes(8) for line in stripped)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def char_lengths(lines: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter((len(line) for line in lines), np.int64, len(lines))


def distinct(hashes: Hashes) -> Hashes:
    """Return each hash once, sorted; np.unique, which looks them up in a table, takes thirty times as long."""
    ordered = np.sort(hashes)
    is_new = np.ones(len(ordered), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def occur_in(hashes: Hashes, pools: Sequence[Hashes]) -> Mask:
    """Return which hashes any of the pools holds; the pools may be large, they are neither sorted nor joined."""
    wanted = distinct(hashes)
    found = np.zeros(len(wanted), np.bool_)
    for pool in pools if len(wanted) else ():
        places = np.minimum(np.searchsorted(wanted, pool), len(wanted) - 1)
        found[places[wanted[places] == pool]] = True
    return found[np.searchsorted(wanted, hashes)]


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
    """Which pairs are held out: those whose source hash is in a range, so that it depends on the text alone.

    All pairs of such a source leave the training set, so neither a duplicate nor another translation of a validation
    source is trained on; the first of them is validated on.
    """

    above: np.uint64
    last: np.uint64

    @classmethod
    def choose(
        cls, surveys: Sequence[Survey], fraction: float, max_pairs: int, fold: int | None = None
    ) -> ValidationSplit:
        """Hold out a fraction of the different sources: `max_pairs` at most, or all of the `fold`-th such part.

        Raises:
            ValueError: there are not two different sources.
        """
        sources = distinct(np.concatenate([each.src_hashes[~each.empty] for each in surveys]))
        if len(sources) < 2:
            names = ", ".join(str(each.corpus.src) for each in surveys)
            raise ValueError(
                f"{names}: a validation set cannot be split off {len(sources)} different source lines; give "
                "`valid_src` and `valid_tgt`, or more text."
            )
        number = fold or 1
        start = min(round((number - 1) * fraction * len(sources)), len(sources) - 1)
        size = min(max(1, round(number * fraction * len(sources)) - start), len(sources) - 1)
        if fold is None:
            size = min(size, max_pairs)
        return cls(sources[start - 1] if start else np.uint64(0), sources[min(start + size, len(sources)) - 1])

    def holds(self, src_hashes: Hashes) -> Mask:
        """Return which of some source lines are held out."""
        return np.asarray((src_hashes > self.above) & (src_hashes <= self.last))

    def first_of_each(self, surveys: Sequence[Survey]) -> list[Mask]:
        """Return, for each corpus, which pairs are the first whole one of a held-out source."""
        sources = np.concatenate([each.src_hashes for each in surveys])
        empty = np.concatenate([each.empty for each in surveys])
        candidates = np.flatnonzero(self.holds(sources) & ~empty)
        _, first = np.unique(sources[candidates], return_index=True)
        chosen = np.zeros(len(sources), np.bool_)
        chosen[candidates[first]] = True
        return np.split(chosen, np.cumsum([len(each) for each in surveys])[:-1])
