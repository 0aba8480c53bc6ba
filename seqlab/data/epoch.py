"""Order of an epoch: the rows of each chunk, as a pure function of (seed, epoch, chunk)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqlab.data.encoded import Span
from seqlab.data.step import Position

RANGES_PER_CHUNK = 32
"""Approximate number of contiguous ranges of rows in a chunk."""


def seeded_generator(seed: int, *key: int) -> np.random.Generator:
    """Return a random generator that depends only on the arguments."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def derive_seed(seed: int, *key: int) -> int:
    """Return a 32-bit seed for generators outside numpy, independent of `seeded_generator` for the same key."""
    return int(np.random.SeedSequence(seed, spawn_key=(*key, 1)).generate_state(1)[0])


@dataclass(frozen=True)
class RowRanges:
    """Contiguous ranges of rows, with the number of rows to draw from each: all, or fewer for a fractional weight."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def select(self, chosen: NDArray[np.int64]) -> RowRanges:
        """Select ranges by their indices."""
        return RowRanges(self.starts[chosen], self.stops[chosen], self.sizes[chosen])

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw rows; return their indices in the order of the ranges, sorted within each."""
        parts = []
        for start, stop, size in zip(self.starts.tolist(), self.stops.tolist(), self.sizes.tolist(), strict=True):
            if size == stop - start:
                parts.append(np.arange(start, stop, dtype=np.int64))
            else:
                parts.append(start + np.sort(rng.permutation(stop - start)[:size]))
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


class PlannedChunk(Protocol):
    """Protocol of a chunk that is divided into steps."""

    @property
    def steps(self) -> Sequence[object]:
        """Steps of the chunk."""
        ...


PlannedT = TypeVar("PlannedT", bound=PlannedChunk)
ChunkT = TypeVar("ChunkT")


def planned_steps(
    chunks: Sequence[ChunkT], start: Position, plan: Callable[[int, ChunkT], PlannedT]
) -> Iterator[tuple[PlannedT, Position, float]]:
    """Yield (planned chunk, position, epochs done after the step) for the steps of an epoch, beginning at `start`."""
    first_step = start.step
    for number in range(start.chunk, len(chunks)):
        chunk = plan(number, chunks[number])
        for step in range(first_step, len(chunk.steps)):
            done = start.epoch + (number + (step + 1) / len(chunk.steps)) / len(chunks)
            yield chunk, Position(start.epoch, number, step), done
        first_step = 0


def epoch_chunks(
    spans: Sequence[Span], weights: Sequence[float], chunk_pairs: int, rng: np.random.Generator
) -> list[RowRanges]:
    """Assign ranges of rows at random to chunks of about `chunk_pairs` rows; the rows of a chunk are in file order.

    This needs only a few numbers in memory per range, and a chunk is read in a few contiguous reads. With a corpus of
    weight 2.5, each range occurs twice, and once more with a random half of its rows.
    """
    ranges = _weighted_ranges(spans, weights, max(1, chunk_pairs // RANGES_PER_CHUNK), rng)
    ranges = ranges.select(rng.permutation(len(ranges)))
    total = int(ranges.sizes.sum())
    num_chunks = min(max(1, round(total / chunk_pairs)), len(ranges))
    middles = np.cumsum(ranges.sizes) - ranges.sizes / 2
    chunk_of_range = np.minimum((middles * num_chunks / max(total, 1)).astype(np.int64), num_chunks - 1)
    chunks = [np.flatnonzero(chunk_of_range == chunk) for chunk in range(num_chunks)]
    return [ranges.select(chunk[np.argsort(ranges.starts[chunk], kind="stable")]) for chunk in chunks if len(chunk)]


def _weighted_ranges(
    spans: Sequence[Span], weights: Sequence[float], range_size: int, rng: np.random.Generator
) -> RowRanges:
    starts, stops, sizes = [], [], []
    for span, weight in zip(spans, weights, strict=True):
        edges = np.append(np.arange(span.start, span.stop, range_size), span.stop)
        lengths = np.diff(edges)
        num_copies, fraction = divmod(weight, 1.0)
        # Rounded up or down at random, so that the expected size is exact for small ranges too.
        part = np.floor(fraction * lengths + rng.random(len(lengths))).astype(np.int64)
        for copy_sizes in [lengths] * int(num_copies) + [np.minimum(part, lengths)]:
            drawn = copy_sizes > 0
            starts.append(edges[:-1][drawn])
            stops.append(edges[1:][drawn])
            sizes.append(copy_sizes[drawn])
    return RowRanges(np.concatenate(starts), np.concatenate(stops), np.concatenate(sizes))
