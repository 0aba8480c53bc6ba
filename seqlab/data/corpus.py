"""Corpora: the two sides of a parallel corpus read in parallel, or text without a second side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import RawBlock
from seqlab.data.column import Column, refuse_unequal_lengths, row_location, zip_equal
from seqlab.data.columns import parse_column

BLOCK_ROWS = 10_000
"""Rows of a block, the unit of work of a worker process."""


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
        """Decode the lines of each column; raises ValueError for one that is not UTF-8."""
        return [lines.decode() if isinstance(lines, RawBlock) else lines for lines in self.columns]

    def corpus_size(self, rows: int) -> int | None:
        """Estimate the rows of the corpus, given that `rows` of them end with this block; None for tables."""
        first = self.columns[0]
        share = first.end_fraction if isinstance(first, RawBlock) else 0.0
        return max(rows, round(rows / share)) if share else None


@dataclass(frozen=True)
class Corpus:
    """Columns of equal length, aligned line by line."""

    columns: tuple[Column, ...]
    split_records: bool = False
    """Whether a record of a table with newlines becomes several lines."""

    @classmethod
    def from_specs(
        cls,
        *specs: str,
        read_once: bool = False,
        split_records: bool = False,
        limit: LineLimit | None = None,
    ) -> Corpus:
        """Parse path specs; raises ValueError for an invalid one, or for a pipe unless the corpus is `read_once`."""
        corpus = cls(tuple(parse_column(spec, limit) for spec in specs), split_records)
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
        """Yield a line of each column, in file order, each row as soon as it is read.

        Raises:
            ValueError: the columns differ in length; names both counts.
        """
        return zip_equal(self.specs, [column.values() for column in self.columns])

    def blocks(self) -> Iterator[RowBlock]:
        """Yield the rows in file order, `BLOCK_ROWS` at a time (the last block may be smaller); errors as in `rows`."""
        start = 0
        nothing: list[str] = []
        columns = (column.blocks(BLOCK_ROWS, split_records=self.split_records) for column in self.columns)
        parts = zip_longest(*columns, fillvalue=nothing)
        for lines in parts:
            if len(set(map(len, lines))) > 1:
                RowBlock(lines).lines()  # an error of decoding comes first: it may be the reason why the counts differ
                counts = [start + len(column) for column in lines]
                for rest in parts:
                    counts = [count + len(column) for count, column in zip(counts, rest, strict=True)]
                refuse_unequal_lengths(self.specs, counts)
            yield RowBlock(lines)
            start += len(lines[0])

    def line_numbers(self, start: int, count: int) -> NDArray[np.int64]:
        """Return the line of `count` rows from index `start` on in each file, from 1: (rows, columns)."""
        return np.array([column.line_numbers(start, count) for column in self.columns]).T

    def locations(self, start: int, count: int) -> list[str]:
        """Return the locations (files and lines) of `count` rows from index `start` on."""
        return [row_location(self.specs, numbers) for numbers in self.line_numbers(start, count).tolist()]
