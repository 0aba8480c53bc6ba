"""Segments of a text as rows of batches: blocks of a continuous text, lines, or parts of long lines; packing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE, TextBatch

Indices = NDArray[np.int64]

HALVED_SHARE, BLOCK_LENGTH_STD, MIN_BLOCK_LENGTH = 0.05, 5.0, 5
"""Parameters of random block lengths: the share of halved lengths, the standard deviation, and the minimum."""


@dataclass(frozen=True)
class TextSegments:
    """Positions of segments in the ids of a text."""

    starts: Indices  # (segments,)
    stops: Indices
    starts_document: NDArray[np.bool_]  # (segments,)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Indices:
        """Lengths of the segments (segments,)."""
        return self.stops - self.starts

    def take(self, rows: NDArray[np.int64]) -> TextSegments:
        """Select segments by their indices."""
        return TextSegments(self.starts[rows], self.stops[rows], self.starts_document[rows])


def cut_into_blocks(total: int, length: int, shift: int = 0) -> TextSegments:
    """Cut `total` ids into blocks of `length` ids; with a shift, the first block has `shift` ids."""
    starts = np.arange(shift - length if shift else 0, total, length, dtype=np.int64)
    stops = np.minimum(starts + length, total)
    starts = np.maximum(starts, 0)
    return TextSegments(starts, stops, starts == 0)


def random_block_lengths(total: int, length: int, rng: np.random.Generator) -> Indices:
    """Draw random block lengths that sum to `total`; the last block is the remainder (Merity et al. 2018)."""
    max_blocks = -(-total // MIN_BLOCK_LENGTH)
    means = np.where(rng.random(max_blocks) < HALVED_SHARE, length / 2, length)
    lengths = np.maximum(rng.normal(means, BLOCK_LENGTH_STD).astype(np.int64), MIN_BLOCK_LENGTH)
    stops = np.minimum(np.cumsum(lengths), total)
    return np.diff(stops[: np.searchsorted(stops, total) + 1], prepend=0)


def segments_of_lines(offsets: Indices, lines: NDArray[np.int64], length: int) -> TextSegments:
    """Split lines into segments of at most `length` ids; line i is from offsets[i] to offsets[i + 1]."""
    first, last = offsets[lines], offsets[lines + 1]
    counts = -(-(last - first) // length)
    line_of = np.repeat(np.arange(len(lines)), counts)
    number = np.arange(len(line_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = first[line_of] + number * length
    return TextSegments(starts, np.minimum(starts + length, last[line_of]), number == 0)


def pack_segments(segments: TextSegments, length: int) -> list[TextSegments]:
    """Pack complete segments, in order, into rows of at most `length` ids; return the segments of each row."""
    rows, start, used = [], 0, 0
    for index, size in enumerate(segments.lengths.tolist()):
        if used + size > length and index > start:
            rows.append(segments.take(np.arange(start, index)))
            start, used = index, 0
        used += size
    if len(segments):
        rows.append(segments.take(np.arange(start, len(segments))))
    return rows


def collate_packed(
    values: NDArray[np.integer], rows: Sequence[TextSegments], *, pad_id: int, start_id: int
) -> TextBatch:
    """Collate rows of packed segments into a batch; `positions` restart at 0 with each segment."""
    shape = len(rows), max(int(row.lengths.sum()) for row in rows)
    tgt_in, tgt_out = np.full(shape, pad_id, np.int64), np.full(shape, IGNORE, np.int64)
    positions = np.zeros(shape, np.int64)
    for number, row in enumerate(rows):
        lengths = row.lengths
        ends = np.cumsum(lengths)
        position = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)  # in the segment
        source = np.repeat(row.starts, lengths) + position
        before = values[np.maximum(source - 1, 0)]
        is_start = np.repeat(row.starts_document, lengths) & (position == 0)
        tgt_in[number, : ends[-1]] = np.where(is_start, start_id, before)
        tgt_out[number, : ends[-1]] = values[source]
        positions[number, : ends[-1]] = position
    starts = torch.tensor([int(row.starts[0]) for row in rows])
    num_tokens = int((tgt_out != IGNORE).sum())
    inputs, targets = torch.from_numpy(tgt_in), torch.from_numpy(tgt_out)
    return TextBatch(inputs, targets, starts, num_tokens, torch.from_numpy(positions))
