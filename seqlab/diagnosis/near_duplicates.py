"""Near-duplicate rows by MinHash signatures of their shingles (Broder 1997) and banding; memory is 256 bytes per row.

Shingles are all substrings of five characters, or all triples of ids. Rows that share a band of their signatures are
compared by the Jaccard similarity of their shingles.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
NUM_BANDS, BAND_ROWS = 12, 5
"""Rows with a similarity of 0.8 share at least one band with a probability of 0.99, rows with 0.5 of 0.32."""
MIN_SIMILARITY = 0.8
MIN_SHINGLES = 40
"""Number of distinct shingles below which rows are too short to be compared."""
TEXT_SHINGLE = 5
"""Number of characters of a shingle."""
BLOCK_ROWS = 2000
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class NearDuplicate:
    """A row that is similar to an earlier one."""

    row: int
    earlier: int
    similarity: float
    """Jaccard similarity of their shingles."""


def duplicate_rows(features: NDArray[Any]) -> NDArray[np.int64]:
    """Return the first row with equal features for each row of (N, ...), (N,)."""
    flat = np.ascontiguousarray(features).reshape(len(features), -1)
    if not flat.size:
        return np.zeros(len(features), np.int64)
    # + 0.0 makes -0.0 and 0.0 equal bytes
    rows = (flat + 0.0 if flat.dtype.kind == "f" else flat).view(np.dtype((np.void, flat.shape[1] * flat.itemsize)))
    return first_of_equal(rows.ravel())


def first_of_equal(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the index of the first equal value for each value of (N,)."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def shingles_of_texts(texts: Sequence[str]) -> list[Hashes]:
    """Return the sorted distinct hashes of all substrings of five characters, ignoring case and repeated spaces."""
    rows = (" ".join(text.casefold().split()) for text in texts)
    return shingles_of_ids([np.frombuffer(row.encode("utf-32-le"), "<u4") for row in rows], TEXT_SHINGLE)


def shingles_of_ids(rows: Sequence[NDArray[np.integer[Any]]], size: int) -> list[Hashes]:
    """Return the sorted distinct hashes of all sequences of `size` neighboring ids of each row."""
    lengths = np.array([len(row) for row in rows], np.int64)
    flat = np.concatenate([np.zeros(0, np.uint64), *(row.astype(np.uint64) for row in rows)])
    flat = _mix(flat + np.uint64(1))
    hashes = np.zeros(max(0, len(flat) - size + 1), np.uint64)
    for position in range(size):
        hashes = hashes * _MULTIPLIER + flat[position : position + len(hashes)]
    hashes = _mix(hashes)
    starts = np.cumsum(lengths) - lengths
    counts = np.maximum(0, lengths - size + 1)
    return [
        np.unique(hashes[start : start + count]) for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
    ]


def near_duplicates(
    count: int, shingles: Callable[[int, int], list[Hashes]], threshold: float = MIN_SIMILARITY
) -> list[NearDuplicate]:
    """Find rows that are similar to an earlier one that is itself none; rows with few shingles are never similar.

    Args:
        count: number of rows.
        shingles: function that returns the sorted distinct hashes of the shingles of a range of rows.
        threshold: smallest Jaccard similarity.
    """
    signatures, is_long = _signatures(count, shingles)
    remaining = np.flatnonzero(is_long)
    duplicates: list[NearDuplicate] = []
    while True:  # without the similar rows, others are first in their bands
        similar = _similar_pairs(signatures, remaining, shingles, threshold)
        if not similar:
            return sorted(duplicates, key=lambda pair: pair.row)
        duplicates += similar
        remaining = np.setdiff1d(remaining, [pair.row for pair in similar])


def _similar_pairs(
    signatures: NDArray[np.uint32], rows: NDArray[np.int64], shingles: Callable[[int, int], list[Hashes]], limit: float
) -> list[NearDuplicate]:
    """Compare the rows that share a band; return the best earlier row of each similar row."""
    pairs = _candidates(signatures, rows)
    agreement = np.concatenate(
        [np.zeros(0), *((signatures[part[:, 0]] == signatures[part[:, 1]]).mean(axis=1) for part in _parts(pairs))]
    )
    best: dict[int, NearDuplicate] = {}
    # A signature of 60 values estimates a similarity with a standard deviation of at most 0.065.
    for earlier, row in pairs[agreement >= limit - 0.2].tolist():
        similarity = jaccard(*shingles(earlier, earlier + 1), *shingles(row, row + 1))
        if similarity >= limit and (row not in best or similarity > best[row].similarity):
            best[row] = NearDuplicate(row, earlier, similarity)
    return [pair for pair in best.values() if pair.earlier not in best]


def _parts(pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(pairs, max(1, len(pairs) // 100_000))


def jaccard(one: Hashes, other: Hashes) -> float:
    """Compute the Jaccard similarity of two sets of sorted distinct hashes."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / max(1, len(one) + len(other) - common)


def _signatures(
    count: int, shingles: Callable[[int, int], list[Hashes]]
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return the signatures of all rows, (count, bands * rows), and whether each has enough shingles."""
    size = NUM_BANDS * BAND_ROWS
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 1 << 63, size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    signatures = np.zeros((count, size), np.uint32)
    is_long = np.zeros(count, np.bool_)
    for start in range(0, count, BLOCK_ROWS):
        sets = shingles(start, min(count, start + BLOCK_ROWS))
        long = np.flatnonzero([len(own_shingles) >= MIN_SHINGLES for own_shingles in sets])
        if not len(long):
            continue
        is_long[start + long] = True
        flat = np.concatenate([sets[row] for row in long])
        starts = np.cumsum([0, *(len(sets[row]) for row in long[:-1])])
        for column, factor in enumerate(factors):
            mixed = ((flat ^ (flat >> np.uint64(31))) * factor) >> np.uint64(32)
            signatures[start + long, column] = np.minimum.reduceat(mixed, starts)
    return signatures, is_long


def _candidates(signatures: NDArray[np.uint32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return distinct pairs (earlier, row) that share a band: each row with the first and with the previous one."""
    pairs = [np.zeros((0, 2), np.int64)]
    for band in range(NUM_BANDS):
        keys = np.zeros(len(rows), np.uint64)
        for column in range(band * BAND_ROWS, (band + 1) * BAND_ROWS):
            keys = _mix(keys * _MULTIPLIER + signatures[rows, column])
        order = np.argsort(keys, kind="stable")
        is_new = np.ones(len(rows), np.bool_)
        is_new[1:] = keys[order][1:] != keys[order][:-1]
        first = np.maximum.accumulate(np.where(is_new, np.arange(len(rows)), 0))
        members = np.flatnonzero(~is_new)
        for earlier in (first[members], members - 1):
            pairs.append(np.stack([rows[order[earlier]], rows[order[members]]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _mix(values: Hashes) -> Hashes:
    """Spread the bits of 64-bit numbers; a bijection (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
