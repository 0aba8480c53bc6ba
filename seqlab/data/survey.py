"""Line hashes of corpora, for holding out a validation set and for finding duplicates and overlap of the splits."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqlab.data.corpus import Corpus, RowBlock, row_unit
from seqlab.data.parallel_text import refuse_other_layouts
from seqlab.data.workers import Workers

PreparationProgress = Callable[[str, int, int | None], None]
"""Progress callback: receives the unit, the number of units done, and their total, if known."""

SMOOTHING_CHARS = 10
"""Number of characters added to both lengths of a length ratio, to tolerate large ratios of short lines."""


def no_progress(units: str, done: int, total: int | None) -> None:
    """Ignore progress."""


LineHashes = NDArray[np.uint64]
RowMask = NDArray[np.bool_]


@dataclass(frozen=True)
class Survey:
    """Line hashes of a corpus, 8 bytes for each line of each column."""

    corpus: Corpus
    hashes: Sequence[LineHashes]  # of each column (rows,); 0 for an empty line
    chars_ratio: float  # smoothed ratio of the characters of the last column to those of the first

    def __len__(self) -> int:
        return len(self.hashes[0])

    @cached_property
    def empty(self) -> RowMask:
        """Mask of the rows with an empty side."""
        return np.logical_or.reduce([column == 0 for column in self.hashes])

    @property
    def copies(self) -> RowMask:
        """Mask of the pairs with equal source and target."""
        return (self.hashes[0] == self.hashes[-1]) & ~self.empty & (len(self.hashes) > 1)

    @property
    def row_hashes(self) -> LineHashes:
        """Hash of each row, which depends on the order of the columns."""
        combined = self.hashes[0]
        for column in self.hashes[1:]:
            # Multiplication by an odd factor is a bijection of 64-bit numbers; overflow is intended.
            combined = combined * np.uint64(0x9E3779B97F4A7C15) + column
        return combined

    def select(self, mask: RowMask) -> Survey:
        """Return the survey of the masked rows."""
        return replace(self, hashes=[column[mask] for column in self.hashes])


def survey_corpus(
    corpus: Corpus, workers: Workers | None = None, on_progress: PreparationProgress = no_progress
) -> Survey:
    """Read a corpus and hash its lines.

    Raises:
        ValueError, FileNotFoundError: the corpus cannot be read, its columns differ in length, it is empty, or
            `refuse_other_layouts` raises it.
    """
    refuse_other_layouts(corpus)
    parts: list[_BlockSurvey] = []
    sizes: deque[int | None] = deque()  # estimated size of the corpus, for each block that was sent to the workers
    done, unit = 0, row_unit(len(corpus.columns))

    def blocks() -> Iterator[RowBlock]:
        read = 0
        for block in corpus.blocks():
            read += len(block)
            sizes.append(block.corpus_size(read))
            yield block

    for part in (workers or Workers(1)).map(_survey_block, blocks()):
        parts.append(part)
        done += len(part.hashes[0])
        on_progress(f"{unit} read", done, sizes.popleft())
    if not parts:
        raise ValueError(f"{corpus}: {'has' if len(corpus.columns) == 1 else 'have'} no lines.")
    chars = np.sum([part.chars for part in parts], axis=0)
    hashes = [np.concatenate(column) for column in zip(*(part.hashes for part in parts), strict=True)]
    return Survey(corpus, hashes, float(chars[-1] / chars[0]) if chars[0] else 1.0)


class _BlockSurvey(NamedTuple):
    """Hashes and character counts of a block."""

    hashes: list[LineHashes]
    chars: list[int]  # smoothed number of characters of each column, over rows without an empty side


def _survey_block(block: RowBlock) -> _BlockSurvey:
    columns = block.lines()
    hashes = [hash_lines(lines) for lines in columns]
    filled = np.logical_and.reduce([column != 0 for column in hashes])
    return _BlockSurvey(hashes, [int((char_lengths(lines) + SMOOTHING_CHARS)[filled].sum()) for lines in columns])


def ratio_outliers(src_chars: NDArray[np.int64], tgt_chars: NDArray[np.int64], typical: float, limit: float) -> RowMask:
    """Return a mask of pairs with a length ratio more than `limit` times above or below `typical`."""
    ratio = (tgt_chars + SMOOTHING_CHARS) / (src_chars + SMOOTHING_CHARS) / typical
    return np.asarray((ratio > limit) | (ratio < 1 / limit))


def hash_lines(lines: Sequence[str]) -> LineHashes:
    """Return a 64-bit hash of each line without surrounding spaces; 0 for an empty line."""
    stripped = [line.strip().encode("utf-8") for line in lines]
    digests = b"".join(hashlib.blake2b(line, digest_size=8).digest() if line else bytes(8) for line in stripped)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def char_lengths(lines: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of characters of each line."""
    return np.fromiter((len(line) for line in lines), np.int64, len(lines))


def sort_unique(hashes: LineHashes) -> LineHashes:
    """Return the distinct hashes, sorted; this is thirty times as fast as np.unique, which uses a hash table."""
    ordered = np.sort(hashes)
    is_new = np.ones(len(ordered), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def occur_in(hashes: LineHashes, pools: Sequence[LineHashes]) -> RowMask:
    """Return a mask of the hashes that are in any of the pools.

    Pools can be large: they are neither sorted nor concatenated.
    """
    distinct = sort_unique(hashes)
    is_in_pool = np.zeros(len(distinct), np.bool_)
    for pool in pools if len(distinct) else ():
        indices = np.minimum(np.searchsorted(distinct, pool), len(distinct) - 1)
        is_in_pool[indices[distinct[indices] == pool]] = True
    return is_in_pool[np.searchsorted(distinct, hashes)]


def find_duplicates(surveys: Sequence[Survey]) -> Sequence[RowMask | None]:
    """Return, for each corpus, a mask of pairs that repeat an earlier pair of the same or a previous corpus.

    For monolingual text, in which short lines naturally repeat, return None instead of a mask.
    """
    if len(surveys[0].hashes) == 1:
        return [None] * len(surveys)
    _, first = np.unique(np.concatenate([survey.row_hashes for survey in surveys]), return_index=True)
    repeated = ~np.concatenate([survey.empty for survey in surveys])
    repeated[first] = False
    return split_by_corpus(repeated, surveys)


def split_by_corpus(joined: RowMask, surveys: Sequence[Survey]) -> list[RowMask]:
    """Split a mask over the concatenated rows of several corpora into one mask per corpus."""
    return np.split(joined, np.cumsum([len(survey) for survey in surveys])[:-1])
