"""Reading of tables into columns of cells: .csv, .tsv, .jsonl, .json and .parquet files.

All commands read the rows of tables through `read_table` and `read_rows`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqlab.base.raw_lines import ROW_LIMIT, LineLimit
from seqlab.base.reading import READING_VERSION, ReadingNotes
from seqlab.data.cells import RawColumn
from seqlab.data.delimited import DelimitedRows, Reject, Row, raise_error, unknown_column
from seqlab.data.file_types import COMPRESSED_SUFFIXES, SHEET_ADVICE, uncompressed_name
from seqlab.data.readers import read_lines, require_file
from seqlab.data.records import read_json_records, read_parquet_records, record_rows

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
    wanted: Sequence[str] = (),
    *,
    reading: int = READING_VERSION,
    reject: Reject = raise_error,
    notes: ReadingNotes | None = None,
) -> tuple[list[str], Iterator[Row]]:
    """Return the names of the columns of a table, and an iterator over its rows.

    Args:
        path: the table.
        wanted: the columns that are used; all if it is empty. Records of JSON need no other keys.
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
    if kind == ".parquet":
        names, records = read_parquet_records(path, wanted)
        check_header(names, str(path), wanted)
        for column in wanted:
            if not {column, column.partition(".")[0]} & set(names):
                raise ValueError(unknown_column(str(path), column, names))
        return record_rows(records, str(path), "record", wanted, reject, reading)
    if kind == ".json":
        records = read_json_records(read_lines(path, LineLimit(None)), str(path), reject, is_document=True)
        return record_rows(records, str(path), "record", wanted, reject, reading)
    kinds: dict[str, Kind] = {".jsonl": "json", ".tsv": "tab", ".csv": "comma"}
    lines = read_lines(path, ROW_LIMIT)
    return read_rows(lines, str(path), kinds[kind], wanted, reading=reading, reject=reject, notes=notes)


def read_rows(
    lines: Iterable[str],
    name: str,
    kind: Kind | None = None,
    wanted: Sequence[str] = (),
    *,
    reading: int = READING_VERSION,
    reject: Reject = raise_error,
    notes: ReadingNotes | None = None,
) -> tuple[list[str], Iterator[Row]]:
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
        return record_rows(read_json_records(all_lines, name, reject), name, "line", wanted, reject, reading)
    table = DelimitedRows(all_lines, name, "," if kind == "comma" else "\t", reading=reading, notes=notes)
    check_header(table.header, name, wanted)
    return table.header, table.rows(reject)


def check_header(header: Sequence[str], name: str, wanted: Sequence[str] = ()) -> None:
    """Raise ValueError for columns with the same name, or without a name; only among those `wanted`, if any."""
    for column in header:
        if header.count(column) > 1 and (not wanted or column in wanted):
            raise ValueError(f"{name}: names {header.count(column)} columns {column!r}: rename all but one.")
    if not wanted and "" in header:
        hint = "" if header[0] else " The first one may be row numbers of pandas: write it by `to_csv(index=False)`."
        raise ValueError(f"{name}: has a column without a name in its header: name it, or delete the column.{hint}")


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

    @classmethod
    def read(
        cls,
        paths: Sequence[str],
        wanted: Sequence[str] = (),
        *,
        reading: int = READING_VERSION,
        notes: ReadingNotes | None = None,
    ) -> RawTable:
        """Read tables with the same columns; only the columns `wanted`, unless it is empty.

        Raises:
            FileNotFoundError, ValueError: a table cannot be read, or lacks a column.
        """
        table = cls.empty()
        for path in paths:
            header, rows = read_table(Path(path).expanduser(), wanted, reading=reading, notes=notes)
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
        table.append("`examples`", *record_rows(enumerate(records, start=1), "`examples`", "entry", names))
        return table

    def append(self, name: str, header: Sequence[str], rows: Iterable[Row], wanted: Sequence[str] = ()) -> None:
        """Append the rows of another table."""
        names = list(wanted) or list(self.columns) or list(header)
        for column in names:
            if column not in header:
                raise ValueError(unknown_column(name, column, header))
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
        name = self.files[file]
        unit = "record" if table_kind(Path(name)) in (".json", ".parquet") else "line"
        return f"{name}, {unit} {self.lines[row]}"
