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
from seqlab.data.cells import MAX_CATEGORIES, RawColumn
from seqlab.data.tables import RawTable

logger = logging.getLogger(__name__)

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

    @classmethod
    def fit(cls, column: RawColumn, rows: RowIndices) -> NumberColumn:
        """Compute the statistics of `rows`; a constant column gets a standard deviation of 1, so that it becomes 0."""
        values = column.values()[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = float(values.std())
        if not np.isfinite(deviation):
            raise ValueError(f"The column {column.name!r} has numbers that are too large: correct or scale them.")
        return cls(column.name, float(values.mean()), deviation if deviation > 1e-12 * abs(values).max() else 1.0)


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
        return sum(len(each.values) if isinstance(each, CategoryColumn) else 1 for each in self.columns)

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
                refuse_text_cells(column, table, "data.categorical")
                refuse_missing_numbers(column, table)
                columns.append(NumberColumn.fit(column, rows))
            values = column.values()[rows] if isinstance(columns[-1], NumberColumn) else column.categories()[rows]
            if np.ptp(values) == 0:
                text = "%s: the input %r is the same in all training rows, so nothing can be learned from it"
                logger.warning(text, table.files[0], name)
        return cls(columns, window)

    def encode(self, table: RawTable) -> FloatArray:
        """Encode all rows of a table: (rows, D); raises ValueError if a cell is missing or not a number."""
        parts = [self._encoded(column, table) for column in self.columns]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(table), 0), np.float32)

    def _encoded(self, column: FittedColumn, table: RawTable) -> FloatArray:
        raw = table.columns[column.name]
        if isinstance(column, NumberColumn):
            values = raw.values()
            refuse_missing_numbers(raw, table)
            with np.errstate(over="ignore"):
                found = ((values - column.mean) / column.deviation).astype(np.float32)
            refuse_too_large(found, column.name, table)
            return found[:, None]
        index_of = {name: index for index, name in enumerate(column.values)}
        if unseen := [name for name in raw.names if name not in index_of]:
            text = "%s: %r has values that were not in the training data and are encoded as zeros: %s"
            logger.warning(text, table.files[0], column.name, ", ".join(unseen[:5]))
        index_of_code = np.array([index_of.get(name, -1) for name in raw.names], np.int64)
        indices = index_of_code[raw.categories()] if len(table) else np.zeros(0, np.int64)
        found = np.zeros((len(table), len(column.values)), np.float32)
        rows = np.flatnonzero(indices >= 0)
        found[rows, indices[rows]] = 1
        return found

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_values(folder, {"window": self.window, "columns": [asdict(each) for each in self.columns]})


def refuse_missing_numbers(column: RawColumn, table: RawTable) -> None:
    """Raise ValueError, with the row, if a cell of a column of numbers is missing or not a number."""
    wrong = np.flatnonzero(np.isnan(column.values()))
    if len(wrong):
        row = int(wrong[0])
        cell = column.non_numeric.get(row)
        fault = "is missing" if cell is None else f"must be a number, but is {cell!r}"
        more = f" ({len(wrong)} such rows in all)" if len(wrong) > 1 else ""
        raise ValueError(f"{table.locate(row)}: {column.name!r} {fault}{more}: correct the cell, or remove the row.")


def refuse_too_large(values: FloatArray, name: str, table: RawTable) -> None:
    """Raise ValueError, with the row, if a standardized number overflows float32."""
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(f"{table.locate(int(wrong[0]))}: {name!r} is too large a number: correct the cell.")


def refuse_text_cells(column: RawColumn, table: RawTable, key: str) -> None:
    """Raise ValueError, with the row, if a column of numbers has cells that are text; `key` is for the message."""
    if column.non_numeric:
        row, cell = next(iter(column.non_numeric.items()))
        raise ValueError(
            f"{table.locate(row)}: {column.name!r} is {cell!r}, but most cells of the column are numbers: correct it, "
            f"or name the column in `{key}`."
        )


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
