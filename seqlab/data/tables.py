"""Reading of tables into columns of cells: .csv, .tsv, .jsonl, .json and .parquet files.

All commands read the rows of tables through `read_table` and `read_rows`.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from seqlab.base.raw_lines import ROW_LIMIT, LineLimit
from seqlab.base.reading_notes import READING_VERSION, ReadingNotes
from seqlab.data.cells import RawColumn
from seqlab.data.delimited import DelimitedRows, Reject, Row, Rows, open_table, raise_error
from seqlab.data.file_types import COMPRESSED_SUFFIXES, SHEET_ADVICE, uncompressed_name
from seqlab.data.readers import read_lines, require_file
from seqlab.data.records import read_json_records, read_parquet_records, record_rows
from seqlab.data.table_header import check_header, unknown_column

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
ROW_NUMBERS = re.compile(r"Unnamed: \d+|__index_level_\d+__")
"""Names that pandas gives to a column of row numbers."""
Kind = Literal["comma", "tab", "json"]


def table_kind(path: Path) -> str | None:
    """Return the suffix of a table file; None if the file is not a table."""
    name = uncompressed_name(path)
    kind = next((kind for kind in TABLE_SUFFIXES if name.endswith(kind)), None)
    return None if kind == ".parquet" and name != path.name.lower() else kind


def read_table(
    path: Path,
    columns: Sequence[str] = (),
    *,
    reading: int = READING_VERSION,
    reject: Reject = raise_error,
    notes: ReadingNotes | None = None,
) -> tuple[list[str], Rows]:
    """Return the names of the columns of a table, and an iterator over its rows.

    Args:
        path: the table.
        columns: the columns that are used; all if it is empty. Records of JSON need no other keys.
        reading: version of the reading of files.
        reject: function that receives the message about a row that cannot be read, which then counts as an empty line.
        notes: receives counts of what was converted or left out.

    Raises:
        FileNotFoundError, ValueError: the file does not exist, or is not a table; the message has the file and line.
    """
    kind = table_kind(path)
    if kind is None:
        raise ValueError(
            f"{path}: is not a table: its name must end in {', '.join(TABLE_SUFFIXES)}, all but the last also with "
            f"{', '.join(COMPRESSED_SUFFIXES)}. Of a workbook, {SHEET_ADVICE}."
        )
    require_file(path)
    name = str(path)
    if kind == ".parquet":
        names, records = read_parquet_records(path, columns)
        heads = [column if column in names else column.partition(".")[0] for column in columns]
        check_header(names, name, heads)
        return record_rows(records, name, "record", columns, reject, reading)
    if kind == ".json":
        records = read_json_records(read_lines(path, LineLimit(None)), name, reject, is_document=True)
        return record_rows(records, name, "record", columns, reject, reading)
    if kind == ".jsonl":
        lines = read_lines(path, ROW_LIMIT)
        return read_rows(lines, name, "json", columns, reading=reading, reject=reject, notes=notes)
    return _checked_rows(open_table(path, reading=reading, notes=notes), columns, reject)


def read_rows(
    lines: Iterable[str],
    name: str,
    kind: Kind | None = None,
    columns: Sequence[str] = (),
    *,
    reading: int = READING_VERSION,
    reject: Reject = raise_error,
    notes: ReadingNotes | None = None,
) -> tuple[list[str], Rows]:
    """Return the names of the columns of a table, given its lines, and an iterator over the rows.

    `kind` is the usual separator of cells, or JSON. None detects it: JSON if the first line starts with `{` or `[`;
    otherwise tabs if the first line has more tabs than commas, or else commas. Other arguments and errors are those of
    `read_table`.
    """
    iterator = iter(lines)
    first = next(iterator, None)
    if first is None:
        raise ValueError(f"{name}: is empty, but must start with a line of column names.")
    if kind is None:
        is_json = first.lstrip().startswith(("{", "["))
        kind = "json" if is_json else "tab" if first.count("\t") > first.count(",") else "comma"
    all_lines = chain([first], iterator)
    if kind == "json":
        unit = "record" if first.lstrip().startswith("[") else "line"
        return record_rows(read_json_records(all_lines, name, reject), name, unit, columns, reject, reading)
    table = DelimitedRows(all_lines, name, "," if kind == "comma" else "\t", reading=reading, notes=notes)
    return _checked_rows(table, columns, reject)


def _checked_rows(table: DelimitedRows, columns: Sequence[str], reject: Reject) -> tuple[list[str], Rows]:
    check_header(table.header, table.name, columns, table.comments)
    return table.header, Rows(table.rows(reject), "line")


def without_row_numbers(names: Sequence[str], path: str, notes: ReadingNotes) -> list[str]:
    """Return the names of columns without those of row numbers, which pandas writes; they are noted."""
    for name in filter(ROW_NUMBERS.fullmatch, names):
        notes.add(f"column(s) of row numbers that pandas wrote are not an input: {name!r}", path)
    return [name for name in names if not ROW_NUMBERS.fullmatch(name)]


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
    units: list[str] = field(default_factory=list)
    """What the numbers of each file count: `line`, `record` or `entry`."""

    @classmethod
    def read(
        cls,
        paths: Sequence[str],
        columns: Sequence[str] = (),
        *,
        reading: int = READING_VERSION,
        notes: ReadingNotes | None = None,
    ) -> RawTable:
        """Read tables with the same columns; only those named, unless there are none.

        Raises:
            FileNotFoundError, ValueError: a table cannot be read, or lacks a column.
        """
        table = cls.empty()
        for path in paths:
            header, rows = read_table(Path(path).expanduser(), columns, reading=reading, notes=notes)
            table.append(path, header, rows, columns, rows.unit)
        return table

    @classmethod
    def empty(cls) -> RawTable:
        """Return a table without columns."""
        return cls({}, [], [], array("q"))

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> RawTable:
        """Create a table from records; raises ValueError if a record lacks one of the columns `names`."""
        table = cls.empty()
        header, rows = record_rows(enumerate(records, start=1), "`examples`", "entry", names)
        table.append("`examples`", header, rows, unit=rows.unit)
        return table

    def append(
        self, name: str, header: Sequence[str], rows: Iterable[Row], columns: Sequence[str] = (), unit: str = "line"
    ) -> None:
        """Append the rows of another table, whose numbers count lines or another unit."""
        names = list(columns) or list(self.columns) or list(header)
        for column in names:
            if column not in header:
                raise ValueError(unknown_column(name, column, header))
        extra = next((column for column in header if column not in names and not ROW_NUMBERS.fullmatch(column)), None)
        if extra is not None and not columns:
            raise ValueError(
                f"{name}: has the column {extra!r}, but {self.files[0]} has not: give all files the same columns, or "
                "name the columns to read in `data.inputs`."
            )
        if not self.columns:
            self.columns = {column: RawColumn(column) for column in names}
        indices = [(self.columns[name], header.index(name)) for name in names]
        self.files.append(name)
        self.units.append(unit)
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
        file = bisect_right(self.starts, row) - 1
        return f"{self.files[file]}, {self.units[file]} {self.lines[row]}"
