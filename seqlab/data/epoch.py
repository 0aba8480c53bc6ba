"""The order of an epoch: which pairs each of its chunks holds, as a pure function of (seed, epoch, chunk)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqlab.data.encoded import Span
from seqlab.data.step import Position

RANGES_PER_CHUNK = 32


def seeded_generator(seed: int, *key: int) -> np.random.Generator:
    """Return random numbers that depend on the arguments alone."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def derive_seed(seed: int, *key: int) -> int:
    """Return a 32-bit seed for generators outside numpy, independent of `seeded_generator` with the same key."""
    return int(np.random.SeedSequence(seed, spawn_key=(*key, 1)).generate_state(1)[0])


@dataclass(frozen=True)
class RowRanges:
    """Contiguous runs of pairs; of each, `sizes` pairs are drawn, all of them unless a weight has a fraction."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def select(self, chosen: NDArray[np.int64]) -> RowRanges:
        return RowRanges(self.starts[chosen], self.stops[chosen], self.sizes[chosen])

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the indices of the drawn pairs in the order of the blocks, sorted within each."""
        parts = []
        for start, stop, size in zip(self.starts.tolist(), self.stops.tolist(), self.sizes.tolist(), strict=True):
            if size == stop - start:
                parts.append(np.arange(start, stop, dtype=np.int64))
            else:
                parts.append(start + np.sort(rng.permutation(stop - start)[:size]))
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


class PlannedChunk(Protocol):
    """A chunk that is cut into steps."""

    @property
    def steps(self) -> Sequence[object]: ...


PlannedT = TypeVar("PlannedT", bound=PlannedChunk)
ChunkT = TypeVar("ChunkT")


def planned_steps(
    chunks: Sequence[ChunkT], first: Position, plan: Callable[[int, ChunkT], PlannedT]
) -> Iterator[tuple[PlannedT, Position, float]]:
    """Yield the steps of an epoch from a position on: the plan of the chunk, the position, and the epochs then done."""
    first_step = first.step
    for number in range(first.chunk, len(chunks)):
        chunk = plan(number, chunks[number])
        for step in range(first_step, len(chunk.steps)):
            done = first.epoch + (number + (step + 1) / len(chunk.steps)) / len(chunks)
            yield chunk, Position(first.epoch, number, step), done
        first_step = 0


def epoch_chunks(
    spans: Sequence[Span], weights: Sequence[float], chunk_pairs: int, rng: np.random.Generator
) -> list[RowRanges]:
    """Deal the blocks of an epoch to chunks of about `chunk_pairs` pairs at random, each in file order.

    Memory is a few numbers per block, and a chunk is read in a few runs. A corpus of weight 2.5 has each block twice
    whole and once more with a random half of its pairs.
    """
    blocks = _weighted_ranges(spans, weights, max(1, chunk_pairs // RANGES_PER_CHUNK), rng)
    blocks = blocks.select(rng.permutation(len(blocks)))
    total = int(blocks.sizes.sum())
    num_chunks = min(max(1, round(total / chunk_pairs)), len(blocks))
    middles = np.cumsum(blocks.sizes) - blocks.sizes / 2
    chunk_of = np.minimum((middles * num_chunks / max(total, 1)).astype(np.int64), num_chunks - 1)
    chunks = [np.flatnonzero(chunk_of == chunk) for chunk in range(num_chunks)]
    return [blocks.select(chunk[np.argsort(blocks.starts[chunk], kind="stable")]) for chunk in chunks if len(chunk)]


def _weighted_ranges(
    spans: Sequence[Span], weights: Sequence[float], block_pairs: int, rng: np.random.Generator
) -> RowRanges:
    starts, stops, sizes = [], [], []
    for span, weight in zip(spans, weights, strict=True):
        edges = np.append(np.arange(span.start, span.stop, block_pairs), span.stop)
        lengths = np.diff(edges)
        whole, fraction = divmod(weight, 1.0)
        # Rounded up or down at random, so that the mean is right also for small blocks.
        part = np.floor(fraction * lengths + rng.random(len(lengths))).astype(np.int64)
        for copy_sizes in [lengths] * int(whole) + [np.minimum(part, lengths)]:
            drawn = copy_sizes > 0
            starts.append(edges[:-1][drawn])
            stops.append(edges[1:][drawn])
            sizes.append(copy_sizes[drawn])
    return RowRanges(np.concatenate(starts), np.concatenate(stops), np.concatenate(sizes))
