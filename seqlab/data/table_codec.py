"""Codec of table columns: cells to vectors.

Numbers are standardized to mean 0 and standard deviation 1, by the statistics of the training rows only. Categories are
one-hot encoded: one number, 0 or 1, for each value in the training rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_json, validate_type
from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.cells import MAX_CATEGORIES, RawColumn
from seqlab.data.column_reading import MISSING_NUMBERS, REMEDY, missing_classes
from seqlab.data.labels import similar_labels
from seqlab.data.number_formats import PLAIN, NumberFormat
from seqlab.data.tables import RawTable

logger = logging.getLogger(__name__)

MIN_IDENTIFIERS = 20
"""Minimum number of training rows in which the categories of an input count as ids if all differ."""
VALUES_FILE = "codec.values.json"
FloatArray = NDArray[np.float32]
RowIndices = NDArray[np.int64]
CodecT = TypeVar("CodecT")


@dataclass(frozen=True)
class NumberColumn:
    """Mean and standard deviation of a column of numbers."""

    name: str
    mean: float
    deviation: float
    format: NumberFormat | None = None
    """Format of the cells; None for runs of version 1 of the reading."""

    @classmethod
    def fit(cls, column: RawColumn, rows: RowIndices) -> NumberColumn:
        """Compute the statistics of `rows`; a constant column gets a standard deviation of 1, so that it becomes 0."""
        values = column.values()[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = float(values.std())
        if not np.isfinite(deviation):
            raise ValueError(f"The column {column.name!r} has numbers that are too large: correct or scale them.")
        is_constant = deviation <= 1e-12 * abs(values).max()
        return cls(column.name, float(values.mean()), 1.0 if is_constant else deviation, column.reading.format)

    def values(self, table: RawTable) -> NDArray[np.float64]:
        """Return the numbers of all rows (rows,); raises ValueError, with the row, if a cell is not a number."""
        column = table.columns[self.name]
        values = column.values_as(self.format)
        refuse_missing_numbers(column, values, table, self.format)
        return values


@dataclass(frozen=True)
class CategoryColumn:
    """The values of a column of categories."""

    name: str
    values: list[str]
    """Values in the training rows; any other value is encoded as zeros."""


FittedColumn = NumberColumn | CategoryColumn


@dataclass(frozen=True)
class TableCodec:
    """Encode the cells of a row as a vector (D,), or of successive rows as a window (window, D)."""

    codec: ClassVar[str] = "table"
    columns: list[FittedColumn]
    window: int = 0
    """Number of rows of a window; 0 for single rows."""

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    @property
    def width(self) -> int:
        """D: size of the vector of a row."""
        return sum(map(_width, self.columns))

    def feature_names(self) -> list[str]:
        """Return the name of each element of the vector of a row: its column, and of a category its value."""
        return [
            name
            for column in self.columns
            for name in (
                [f"{column.name} = {value}" for value in column.values]
                if isinstance(column, CategoryColumn)
                else [column.name]
            )
        ]

    def is_category(self) -> list[bool]:
        """Return whether each element of the vector of a row stands for a category."""
        return [is_one for column in self.columns for is_one in [isinstance(column, CategoryColumn)] * _width(column)]

    @property
    def shape(self) -> tuple[int, ...]:
        """(F, D): shape of an encoded example."""
        return (max(1, self.window), self.width)

    @classmethod
    def fit(
        cls, table: RawTable, names: Sequence[str], categorical: Sequence[str], rows: RowIndices, window: int
    ) -> TableCodec:
        """Fit the codec to the training rows (n,); logs a warning for columns that are constant in these rows.

        Raises:
            ValueError: a column has neither numbers nor categories; the message has the row.
        """
        columns: list[FittedColumn] = []
        for name in names:
            column = table.columns[name]
            if name in categorical or not column.is_numeric:
                columns.append(CategoryColumn(name, categories_of(column, rows)))
            else:
                refuse_problem(column, table, "name the column in `data.categorical`")
                refuse_missing_numbers(column, column.values(), table)
                columns.append(NumberColumn.fit(column, rows))
            values = column.values()[rows] if isinstance(columns[-1], NumberColumn) else column.categories()[rows]
            if np.ptp(values) == 0:
                text = "%s: the input %r is the same in all training rows, so nothing can be learned from it"
                logger.warning(text, table.files[0], name)
            elif isinstance(columns[-1], CategoryColumn) and len(rows) == len(columns[-1].values) >= MIN_IDENTIFIERS:
                text = "%s: the input %r differs in all training rows, like ids: leave it out (see `data.inputs`)"
                logger.warning(text, table.files[0], name)
        return cls(columns, window)

    def encode(self, table: RawTable, notes: ReadingNotes | None = None) -> FloatArray:
        """Encode all rows of a table: (rows, D); raises ValueError if a cell is missing or not a number.

        Categories that are not in the training data are counted in `notes`; without it, they are logged.
        """
        unseen = ReadingNotes() if notes is None else notes
        parts = [self._encoded(column, table, unseen) for column in self.columns]
        for line in unseen.lines() if notes is None else ():
            logger.warning("%s", line)
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(table), 0), np.float32)

    def _encoded(self, column: FittedColumn, table: RawTable, unseen: ReadingNotes) -> FloatArray:
        raw = table.columns[column.name]
        if isinstance(column, NumberColumn):
            with np.errstate(over="ignore"):
                features = ((column.values(table) - column.mean) / column.deviation).astype(np.float32)
            refuse_too_large(features, column.name, table)
            return features[:, None]
        index_of = {name: index for index, name in enumerate(column.values)}
        index_of_code = np.array([index_of.get(name, -1) for name in raw.names], np.int64)
        indices = index_of_code[raw.categories()] if len(table) else np.zeros(0, np.int64)
        features = np.zeros((len(table), len(column.values)), np.float32)
        if len(unknown := np.flatnonzero(indices < 0)):
            first = int(unknown[0])
            text = f"cells of {column.name!r} are not in the training data and are encoded as zeros"
            unseen.add(text, f"{raw.text(first)!r}, {table.locate(first)}", count=len(unknown))
        rows = np.flatnonzero(indices >= 0)
        features[rows, indices[rows]] = 1
        return features

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_values(folder, {"window": self.window, "columns": [asdict(column) for column in self.columns]})


def _width(column: FittedColumn) -> int:
    """Return the number of elements that a column has in the vector of a row."""
    return len(column.values) if isinstance(column, CategoryColumn) else 1


def note_reading(column: FittedColumn, table: RawTable, notes: ReadingNotes) -> None:
    """Note the cells of a column that are read in a way that their writers may not expect."""
    raw = table.columns[column.name]
    reads_as_fitted = raw.reading.is_numeric == isinstance(column, NumberColumn)
    if reads_as_fitted and not (isinstance(column, NumberColumn) and column.format is None):
        for note in raw.reading.notes:
            location = table.locate(raw.first_row(note.cell))
            notes.add(f"cells of {column.name!r} {note.text}", f"{note.cell!r}, {location}", count=note.count)
    if isinstance(column, CategoryColumn):
        for group in similar_labels(raw.names):
            text = f"categories of {column.name!r} differ from another only in case, spaces or invisible characters"
            location = table.locate(raw.first_row(group[1]))
            notes.add(text, f"{' and '.join(map(ascii, group))}, {location}", count=len(group) - 1)
        for cell in missing_classes(raw.names):
            rows = np.flatnonzero(raw.categories() == raw.names[cell])
            text = f"missing cells of {column.name!r} ({cell or 'empty'}) are a category"
            notes.add(text, table.locate(int(rows[0])), count=len(rows))


def refuse_missing_numbers(
    column: RawColumn, values: NDArray[np.float64], table: RawTable, number_format: NumberFormat | None = None
) -> None:
    """Raise ValueError, with the row, if a cell of a column of numbers (rows,) is missing or not a number."""
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        row = int(wrong[0])
        cell = column.text(row)
        expected = (number_format or PLAIN).description
        fault = "is missing" if cell.lower() in MISSING_NUMBERS else f"must be {expected}, but is {cell!r}"
        more = f" ({len(wrong)} such rows in all)" if len(wrong) > 1 else ""
        raise ValueError(f"{table.locate(row)}: {column.name!r} {fault}{more}: correct the cell, or remove the row.")


def refuse_too_large(values: FloatArray, name: str, table: RawTable) -> None:
    """Raise ValueError, with the row, if a standardized number overflows float32."""
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(f"{table.locate(int(wrong[0]))}: {name!r} is too large a number: correct the cell.")


def refuse_problem(column: RawColumn, table: RawTable, remedy: str) -> None:
    """Raise ValueError, with the row, if a column can be read neither as numbers nor as categories.

    `remedy` tells how to read it as categories.
    """
    if (problem := column.reading.problem) is not None:
        text = problem.text.replace(REMEDY, remedy)
        raise ValueError(f"{table.locate(column.first_row(problem.cell))}: {column.name!r} {text}.")


def categories_of(column: RawColumn, rows: RowIndices) -> list[str]:
    """Return the values of an input in `rows`, the most frequent first; raises ValueError if there are too many."""
    if len(column.names) > MAX_CATEGORIES:
        raise ValueError(
            f"The column {column.name!r} has more than {MAX_CATEGORIES:,} different values, too many for categories: "
            "exclude it (`data.inputs` names the columns that are read). For classes of texts use "
            "`data.kind: labelling`."
        )
    return values_by_frequency(column, rows)


def values_by_frequency(column: RawColumn, rows: RowIndices) -> list[str]:
    """Return the values of a column in `rows`, the most frequent first."""
    counts = np.bincount(column.categories()[rows], minlength=len(column.names))
    names = list(column.names)
    return [names[code] for code in np.argsort(-counts, kind="stable") if counts[code]]


def load_table_codec(folder: Path) -> TableCodec:
    """Load a codec of table columns."""
    return read_values(folder, TableCodec)


def write_values(folder: Path, values: dict[str, Any]) -> None:
    """Write the values of a codec as JSON."""
    write_json(folder / VALUES_FILE, values)


def read_values(folder: Path, codec: type[CodecT]) -> CodecT:
    """Read a codec that `write_values` wrote; raises ValueError if it is missing or damaged."""
    file = folder / VALUES_FILE
    try:
        return validate_type(read_json(file), codec)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is missing or damaged: {error}.") from None
