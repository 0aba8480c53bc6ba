"""Pieces of a text that are read as one row: blocks of a continuous text, and lines or the parts of long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Where pieces stand among the ids of a text."""

    starts: Places  # (pieces,)
    stops: Places
    begins: NDArray[np.bool_]  # (pieces,): whether a document begins with it, so that nothing stands before it

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Places:
        return self.stops - self.starts

    def take(self, rows: NDArray[np.int64]) -> Pieces:
        """Return some of the pieces."""
        return Pieces(self.starts[rows], self.stops[rows], self.begins[rows])

    @classmethod
    def joined(cls, parts: Sequence[Pieces]) -> Pieces:
        """Put several lists of pieces one behind the other."""
        return cls(
            np.concatenate([part.starts for part in parts]),
            np.concatenate([part.stops for part in parts]),
            np.concatenate([part.begins for part in parts]),
        )


def blocks_of(total: int, length: int, shift: int = 0) -> Pieces:
    """Cut `total` ids into blocks; with a shift the first block is shorter."""
    starts = np.arange(shift - length if shift else 0, total, length, dtype=np.int64)
    stops = np.minimum(starts + length, total)
    starts = np.maximum(starts, 0)
    return Pieces(starts, stops, starts == 0)


def pieces_of_lines(offsets: Places, lines: NDArray[np.int64], length: int) -> Pieces:
    """Return some lines, cut where one is longer than `length`; line i is from offsets[i] to offsets[i + 1]."""
    first, last = offsets[lines], offsets[lines + 1]
    counts = -(-(last - first) // length)
    line_of = np.repeat(np.arange(len(lines)), counts)
    number = np.arange(len(line_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = first[line_of] + number * length
    return Pieces(starts, np.minimum(starts + length, last[line_of]), number == 0)
