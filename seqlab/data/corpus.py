"""Corpora: the aligned source and target sides of a parallel corpus, or monolingual text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from seqlab.base.raw_lines import LineLimit
from seqlab.base.reading_notes import READING_VERSION
from seqlab.data.blocks import RawBlock
from seqlab.data.column import Column, refuse_unequal_lengths, row_location, zip_equal
from seqlab.data.columns import parse_column

BLOCK_ROWS = 10_000
"""Number of rows of a block, which is the unit of work of a worker process."""


def row_unit(num_columns: int) -> str:
    """Return the name of the rows of a corpus with `num_columns` columns, for messages."""
    return "lines" if num_columns == 1 else "pairs"


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of a corpus, possibly not decoded yet."""

    columns: Sequence[RawBlock | list[str]]

    def __len__(self) -> int:
        return len(self.columns[0])

    def lines(self) -> list[list[str]]:
        """Decode the lines of each column; raises ValueError for a line that is not UTF-8."""
        return [lines.decode() if isinstance(lines, RawBlock) else lines for lines in self.columns]

    def corpus_size(self, rows: int) -> int | None:
        """Estimate the size of the corpus from the number of rows up to the end of this block; None for tables."""
        first = self.columns[0]
        share = first.end_fraction if isinstance(first, RawBlock) else 0.0
        return max(rows, round(rows / share)) if share else None


@dataclass(frozen=True)
class Corpus:
    """Columns of equal length, aligned line by line."""

    columns: tuple[Column, ...]
    split_records: bool = False
    """Whether a table record with newlines becomes several lines."""
    reads_tabs: bool = True
    """Whether a tab in a source has a meaning: it starts tags, or separates two texts."""

    @classmethod
    def from_specs(
        cls,
        *specs: str,
        read_once: bool = False,
        split_records: bool = False,
        limit: LineLimit | None = None,
        reading: int = READING_VERSION,
    ) -> Corpus:
        """Parse path specs; raises ValueError for an invalid spec, or for a pipe unless `read_once` is True."""
        corpus = cls(tuple(parse_column(spec, limit, reading) for spec in specs), split_records)
        for column in corpus.columns:
            if column.is_stream and not read_once:
                raise ValueError(
                    f"{column.source}: is a pipe or a device, but a corpus is read several times: write it to a file "
                    "first."
                )
        return corpus

    def __str__(self) -> str:
        return " and ".join(self.specs)

    @property
    def specs(self) -> tuple[str, ...]:
        """The path specs of the columns."""
        return tuple(map(str, self.columns))

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows in file order, each as soon as it is read: one line of each column.

        Raises:
            ValueError: the columns differ in length; the message has both counts.
        """
        return zip_equal(self.specs, [column.values() for column in self.columns])

    def blocks(self) -> Iterator[RowBlock]:
        """Yield the rows in blocks of `BLOCK_ROWS` (the last block may be smaller); errors as in `rows`."""
        start = 0
        no_lines: list[str] = []
        columns = (column.blocks(BLOCK_ROWS, split_records=self.split_records) for column in self.columns)
        parts = zip_longest(*columns, fillvalue=no_lines)
        for lines in parts:
            if len(set(map(len, lines))) > 1:
                RowBlock(lines).lines()  # raise decoding errors first: they may be the cause of the different counts
                counts = [start + len(column) for column in lines]
                for part in parts:
                    counts = [count + len(column) for count, column in zip(counts, part, strict=True)]
                refuse_unequal_lengths(self.specs, counts)
            yield RowBlock(lines)
            start += len(lines[0])

    def line_numbers(self, start: int, count: int) -> NDArray[np.int64]:
        """Return the line numbers, from 1, of `count` rows starting at index `start`: (rows, columns)."""
        return np.array([column.line_numbers(start, count) for column in self.columns]).T

    def locations(self, start: int, count: int) -> list[str]:
        """Return the locations (files and lines) of `count` rows starting at index `start`."""
        return [row_location(self.specs, numbers) for numbers in self.line_numbers(start, count).tolist()]
