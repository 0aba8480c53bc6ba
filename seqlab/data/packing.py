"""Several lines in one row, none of which sees another: for lines of very different lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE, TextBatch
from seqlab.data.pieces import Pieces


def pack(pieces: Pieces, length: int) -> list[Pieces]:
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


def packed_batch(values: NDArray[np.integer], rows: Sequence[Pieces], *, pad_id: int, start_id: int) -> TextBatch:
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
