"""Pieces of a text that are read as one row: blocks of a continuous text, and lines or the parts of long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE, TextBatch

Indices = NDArray[np.int64]

HALVED_SHARE, BLOCK_LENGTH_STD, MIN_BLOCK_LENGTH = 0.05, 5.0, 5
"""Of random lengths: the share that is about half as long, their standard deviation, and the shortest."""


@dataclass(frozen=True)
class TextSegments:
    """Where pieces stand among the ids of a text."""

    starts: Indices  # (pieces,)
    stops: Indices
    begins: NDArray[np.bool_]  # (pieces,): whether a document begins with it, so that nothing stands before it

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Indices:
        return self.stops - self.starts

    def take(self, rows: NDArray[np.int64]) -> TextSegments:
        """Return some of the pieces."""
        return TextSegments(self.starts[rows], self.stops[rows], self.begins[rows])


def cut_into_blocks(total: int, length: int, shift: int = 0) -> TextSegments:
    """Cut `total` ids into blocks; with a shift the first block is shorter."""
    starts = np.arange(shift - length if shift else 0, total, length, dtype=np.int64)
    stops = np.minimum(starts + length, total)
    starts = np.maximum(starts, 0)
    return TextSegments(starts, stops, starts == 0)


def random_block_lengths(total: int, length: int, rng: np.random.Generator) -> Indices:
    """Cut `total` ids into stretches of random length, of which the last is what is left (Merity et al. 2018)."""
    most = -(-total // MIN_BLOCK_LENGTH)
    middles = np.where(rng.random(most) < HALVED_SHARE, length / 2, length)
    lengths = np.maximum(rng.normal(middles, BLOCK_LENGTH_STD).astype(np.int64), MIN_BLOCK_LENGTH)
    stops = np.minimum(np.cumsum(lengths), total)
    return np.diff(stops[: np.searchsorted(stops, total) + 1], prepend=0)


def segments_of_lines(offsets: Indices, lines: NDArray[np.int64], length: int) -> TextSegments:
    """Return some lines, cut where one is longer than `length`; line i is from offsets[i] to offsets[i + 1]."""
    first, last = offsets[lines], offsets[lines + 1]
    counts = -(-(last - first) // length)
    line_of = np.repeat(np.arange(len(lines)), counts)
    number = np.arange(len(line_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = first[line_of] + number * length
    return TextSegments(starts, np.minimum(starts + length, last[line_of]), number == 0)


def pack_segments(pieces: TextSegments, length: int) -> list[TextSegments]:
    """Fill rows of at most `length` ids with whole pieces, in their order: what no longer fits begins the next row."""
    rows, start, used = [], 0, 0
    for index, size in enumerate(pieces.lengths.tolist()):
        if used + size > length and index > start:
            rows.append(pieces.take(np.arange(start, index)))
            start, used = index, 0
        used += size
    if len(pieces):
        rows.append(pieces.take(np.arange(start, len(pieces))))
    return rows


def collate_packed(
    values: NDArray[np.integer], rows: Sequence[TextSegments], *, pad_id: int, start_id: int
) -> TextBatch:
    """Read rows of pieces into a batch, in which `positions` begin anew with each piece."""
    shape = len(rows), max(int(row.lengths.sum()) for row in rows)
    tgt_in, tgt_out = np.full(shape, pad_id, np.int64), np.full(shape, IGNORE, np.int64)
    positions = np.zeros(shape, np.int64)
    for number, row in enumerate(rows):
        lengths = row.lengths
        ends = np.cumsum(lengths)
        place = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)  # within the piece
        source = np.repeat(row.starts, lengths) + place
        before = values[np.maximum(source - 1, 0)]
        begins = np.repeat(row.begins, lengths) & (place == 0)
        tgt_in[number, : ends[-1]] = np.where(begins, start_id, before)
        tgt_out[number, : ends[-1]] = values[source]
        positions[number, : ends[-1]] = place
    starts = torch.tensor([int(row.starts[0]) for row in rows])
    num_tokens = int((tgt_out != IGNORE).sum())
    places = torch.from_numpy(positions)
    return TextBatch(torch.from_numpy(tgt_in), torch.from_numpy(tgt_out), starts, num_tokens, places)
