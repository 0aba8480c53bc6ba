"""Reading of tables into columns of cells.

A table is a .csv or .tsv file with a header, JSON lines, or parquet; the first three may end in .gz.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqlab.base.parsing import parse_json
from seqlab.base.raw_lines import ROW_LIMIT
from seqlab.data.cells import NumberCell, RawColumn
from seqlab.data.readers import CellRows, read_lines, require_file

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
Row = tuple[int, Sequence[str]]
"""Number of the line or record, from 1, and the cells; no cells for an empty line."""


def table_kind(path: Path) -> str | None:
    """Return the suffix of a table file; None if the file is not a table."""
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind in TABLE_SUFFIXES if name.endswith(kind)), None)


def read_table(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Return the names of the columns of a table, and an iterator over its rows.

    Raises:
        FileNotFoundError, ValueError: the file does not exist, or is not a table; the message has the file and line.
    """
    kind = table_kind(path)
    if kind is None:
        raise ValueError(
            f"{path}: is not a table: its name must end in {', '.join(TABLE_SUFFIXES)}, the first three also with .gz."
        )
    require_file(path)
    if kind == ".parquet":
        return _read_parquet(path)
    return read_rows(
        read_lines(path, ROW_LIMIT), str(path), "json" if kind == ".jsonl" else "tab" if kind == ".tsv" else "comma"
    )


def read_rows(
    lines: Iterable[str], name: str, kind: Literal["comma", "tab", "json"] | None = None
) -> tuple[list[str], Iterator[Row]]:
    """Return the names of the columns of a table, given its lines, and an iterator over the rows.

    `kind` is the separator of cells, or JSON. None detects it: JSON if the first line starts with `{`; otherwise tabs
    if the first line has more tabs than commas, or else commas. Raises errors as `read_table` does.
    """
    iterator = iter(lines)
    first = next(iterator, None)
    if first is None:
        raise ValueError(f"{name}: is empty, but must start with a line of column names.")
    if kind is None:
        kind = "json" if first.lstrip().startswith("{") else "tab" if first.count("\t") > first.count(",") else "comma"
    all_lines = chain([first], iterator)
    if kind == "json":
        return _read_json(all_lines, name)
    return _read_delimited(all_lines, name, "," if kind == "comma" else "\t")


def _read_delimited(lines: Iterable[str], name: str, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    reader = CellRows(lines, name, delimiter=delimiter, strict=True)

    def rows(header: Sequence[str]) -> Iterator[Row]:
        for cells in reader:
            if cells and len(cells) != len(header):
                raise ValueError(
                    f"{name}, line {reader.line_num}: has {len(cells)} cells, but the header names {len(header)} "
                    "columns."
                )
            yield reader.line_num, cells

    header = [cell.strip() for cell in next(reader, [])]
    _check_header(header, name)
    return header, rows(header)


def _check_header(header: Sequence[str], name: str) -> None:
    for column in header:
        if header.count(column) > 1:
            raise ValueError(f"{name}: names {header.count(column)} columns {column!r}: rename all but one.")
        if not column:
            raise ValueError(f"{name}: has a column without a name in its header.")


def _read_json(lines: Iterable[str], name: str) -> tuple[list[str], Iterator[Row]]:
    def records() -> Iterator[tuple[int, dict[str, Any] | None]]:
        for number, line in enumerate(lines, start=1):
            try:
                record = parse_json(line) if line.strip() else None
            except ValueError as error:
                raise ValueError(f"{name}, line {number}: {error}.") from None
            if not isinstance(record, dict | None):
                raise ValueError(f"{name}, line {number}: must be a JSON object, {{...}}, but is {line.strip():.40}.")
            yield number, record

    found = records()
    empty: list[Row] = []
    for number, record in found:
        if record is not None:
            break
        empty.append((number, []))
    else:
        raise ValueError(f"{name}: has no records.")
    header = list(record)

    def rows() -> Iterator[Row]:
        yield from empty
        for line, each in chain([(number, record)], found):
            yield line, [] if each is None else _cells(each, header, f"{name}, line {line}")

    return header, rows()


def _cells(record: Mapping[str, Any], header: Sequence[str], location: str) -> list[str]:
    missing = [column for column in header if column not in record]
    if missing:
        raise ValueError(f"{location}: has no {missing[0]!r}, but the first record has.")
    return [_cell(record[column]) for column in header]


def _cell(value: Any) -> str:
    """Format a value of JSON or parquet as a cell: items of lists are joined by spaces, booleans are as in JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Real | Decimal):  # also numpy's
        return NumberCell(value)
    return " ".join(map(_cell, value)) if isinstance(value, list) else str(value)


def _read_parquet(path: Path) -> tuple[list[str], Iterator[Row]]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ValueError(f"{path}: parquet needs pyarrow: `pip install 'seqlab[datasets]'`.") from None
    try:
        file = ParquetFile(path)
    except ArrowInvalid as error:
        raise ValueError(f"{path}: cannot be read as parquet ({error}).") from None
    header = list(file.schema_arrow.names)
    _check_header(header, str(path))

    def rows() -> Iterator[Row]:
        records = (record for batch in file.iter_batches() for record in batch.to_pylist())
        for number, record in enumerate(records, start=1):
            yield number, _cells(record, header, f"{path}, record {number}")

    return header, rows()


@dataclass
class RawTable:
    """The cells of several tables with the same columns, concatenated."""

    columns: dict[str, RawColumn]
    files: list[str]
    starts: list[int]
    """Index of the first row of each file."""
    lines: array[int]
    """Number of the line or record of each row in its file."""
    num_empty: int = 0
    """Number of empty lines, which are not rows."""

    @classmethod
    def read(cls, paths: Sequence[str], wanted: Sequence[str] = ()) -> RawTable:
        """Read tables with the same columns; only the columns `wanted`, unless it is empty.

        Raises:
            FileNotFoundError, ValueError: a table cannot be read, or lacks a column.
        """
        table = cls.empty()
        for path in paths:
            header, rows = read_table(Path(path).expanduser())
            table.append(path, header, rows, wanted)
        return table

    @classmethod
    def empty(cls) -> RawTable:
        """Return a table without columns."""
        return cls({}, [], [], array("q"))

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> RawTable:
        """Create a table from records; raises ValueError if a record lacks one of the columns `names`."""
        table = cls.empty()
        rows = (
            (number, _cells(record, names, f"`examples`, entry {number}"))
            for number, record in enumerate(records, start=1)
        )
        table.append("`examples`", list(names), rows)
        return table

    def append(self, name: str, header: Sequence[str], rows: Iterable[Row], wanted: Sequence[str] = ()) -> None:
        """Append the rows of another table."""
        names = list(wanted) or list(self.columns) or list(header)
        for column in names:
            if column not in header:
                raise ValueError(f"{name}: has no column {column!r}, only {', '.join(header)}.")
        if not self.columns:
            self.columns = {column: RawColumn(column) for column in names}
        indices = [(self.columns[name], header.index(name)) for name in names]
        self.files.append(name)
        self.starts.append(len(self))
        for line, cells in rows:
            if not cells:
                self.num_empty += 1
                continue
            self.lines.append(line)
            for raw, index in indices:
                raw.add(cells[index])

    def __len__(self) -> int:
        return len(self.lines)

    def locate(self, row: int) -> str:
        """Return the location (file and line) of a row."""
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self.files[file]}, line {self.lines[row]}"
