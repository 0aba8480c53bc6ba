"""Tables -> named columns of cells, and columns of cells -> numbers or categories.

A table is a .csv or .tsv file with a header, JSON lines, or parquet; the first three may end in .gz.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.base.parsing import parse_json
from seqlab.base.raw_lines import ROW_LIMIT
from seqlab.data.readers import CellRows, read_lines, require_file

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
MISSING_CELLS = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""What a cell holds, in any case of letters, that holds nothing."""
TRUTH_VALUES = {"true": 1.0, "false": 0.0}
"""Truth values, in any case of letters, as JSON, parquet and CSV files hold them."""
MAX_CATEGORIES = 1000
"""Names that an input has at most."""
MAX_DISTINCT_NUMBERS = 100_000
"""Different cells of a column of numbers up to which these can be classes, groups or folds: names take memory."""
MIN_NUMERIC_SHARE = 0.5
"""Share of numbers in a column from which its other cells are errors, and the column is not one of categories."""
Row = tuple[int, Sequence[str]]
"""The line or record in its file, from 1, and the cells; no cell at all for an empty line."""


def table_kind(path: Path) -> str | None:
    """Return the ending by which a file is known to be a table; None where it is none."""
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind in TABLE_SUFFIXES if name.endswith(kind)), None)


def read_table(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Return the names of a table's columns, and an iterator over its rows.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no table; naming the file and the line.
    """
    kind = table_kind(path)
    if kind is None:
        raise ValueError(
            f"{path}: is no table: its name must end in {', '.join(TABLE_SUFFIXES)}, or the first three with .gz."
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
    """Return the names of the columns of lines of text, and an iterator over the rows.

    `kind`: how cells are divided; None: JSON where the first line begins with `{`, else what the first line holds more
    of, tabs or commas. Errors as in `read_table`.
    """
    iterator = iter(lines)
    first = next(iterator, None)
    if first is None:
        raise ValueError(f"{name}: is empty, but needs a line with the names of the columns.")
    if kind is None:
        kind = "json" if first.lstrip().startswith("{") else "tab" if first.count("\t") > first.count(",") else "comma"
    whole = chain([first], iterator)
    return _read_json(whole, name) if kind == "json" else _read_divided(whole, name, "," if kind == "comma" else "\t")


def _read_divided(lines: Iterable[str], name: str, delimiter: str) -> tuple[list[str], Iterator[Row]]:
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
                raise ValueError(f"{name}, line {number}: must be an object, {{...}}, but is {line.strip():.40}.")
            yield number, record

    found = records()
    empty: list[Row] = []
    for number, record in found:
        if record is not None:
            break
        empty.append((number, []))
    else:
        raise ValueError(f"{name}: holds no record.")
    header = list(record)

    def rows() -> Iterator[Row]:
        yield from empty
        for line, each in chain([(number, record)], found):
            yield line, [] if each is None else _cells(each, header, f"{name}, line {line}")

    return header, rows()


def _cells(record: Mapping[str, Any], header: Sequence[str], where: str) -> list[str]:
    missing = [column for column in header if column not in record]
    if missing:
        raise ValueError(f"{where}: has no {missing[0]!r}, as the first record has.")
    return [_cell(record[column]) for column in header]


def _cell(value: Any) -> str:
    """Write a value of JSON or parquet as a cell: lists with spaces between, truth values as in JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
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
class RawColumn:
    """The cells of a column, as numbers and as the codes of distinct texts."""

    name: str
    numbers: array[float] = field(default_factory=lambda: array("d"))
    """NaN where a cell is no number."""
    codes: array[int] = field(default_factory=lambda: array("i"))
    """For each cell its code in `names`; incomplete after `MAX_DISTINCT_NUMBERS` distinct numbers."""
    names: dict[str, int] = field(default_factory=dict)
    non_numeric: dict[int, str] = field(default_factory=dict)
    """Some of the cells that are neither numbers nor missing, by their rows."""
    num_non_numeric: int = 0
    num_missing: int = 0

    def add(self, cell: str) -> None:
        """Read the next cell."""
        cell = cell.strip()
        number = _parse_number(cell)
        if number is None:
            is_missing = cell.lower() in MISSING_CELLS
            self.num_missing += is_missing
            self.num_non_numeric += not is_missing
            if not is_missing and len(self.non_numeric) < 3:
                self.non_numeric[len(self.numbers)] = cell
        has_codes = len(self.codes) == len(self.numbers)
        self.numbers.append(np.nan if number is None else number)
        if has_codes and (self.num_non_numeric or len(self.names) <= MAX_DISTINCT_NUMBERS):
            self.codes.append(self.names.setdefault(cell, len(self.names)))

    @property
    def is_numeric(self) -> bool:
        """Whether the cells are numbers, at least most of them."""
        present = len(self.numbers) - self.num_missing
        return present > 0 and self.num_non_numeric < MIN_NUMERIC_SHARE * present

    def values(self) -> NDArray[np.float64]:
        """Return the numbers (rows,)."""
        return np.frombuffer(self.numbers, np.float64) if self.numbers else np.zeros(0)

    def categories(self) -> NDArray[np.int32]:
        """Return the codes (rows,); raises ValueError where the column holds too many different numbers."""
        if len(self.codes) < len(self.numbers):
            raise ValueError(
                f"The column {self.name!r} holds more than {MAX_DISTINCT_NUMBERS:,} different numbers, too many for "
                "categories, classes, groups or folds."
            )
        return np.frombuffer(self.codes, np.int32) if self.codes else np.zeros(0, np.int32)


def _parse_number(cell: str) -> float | None:
    """Read a finite number, of truth values 1 and 0; None where a cell is none."""
    if cell.lower() in TRUTH_VALUES:
        return TRUTH_VALUES[cell.lower()]
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


@dataclass
class RawTable:
    """The cells of several tables with the same columns, concatenated."""

    columns: dict[str, RawColumn]
    files: list[str]
    starts: list[int]
    """The first row of each file."""
    lines: array[int]
    """The line or record of each row in its file."""
    num_empty: int = 0
    """Empty lines, which are no rows."""

    @classmethod
    def read(cls, paths: Sequence[str], wanted: Sequence[str] = ()) -> RawTable:
        """Read tables, of `wanted` columns unless that is empty.

        Raises:
            FileNotFoundError, ValueError: a table cannot be read, lacks a column, or has other columns than the first.
        """
        table = cls.empty()
        for path in paths:
            header, rows = read_table(Path(path).expanduser())
            table.append(path, header, rows, wanted)
        return table

    @classmethod
    def empty(cls) -> RawTable:
        """Begin a table without columns."""
        return cls({}, [], [], array("q"))

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> RawTable:
        """Make a table of values by the names of columns; raises ValueError where a record lacks one."""
        table = cls.empty()
        rows = (
            (number, _cells(record, names, f"`examples`, entry {number}"))
            for number, record in enumerate(records, start=1)
        )
        table.append("`examples`", list(names), rows)
        return table

    def append(self, name: str, header: Sequence[str], rows: Iterable[Row], wanted: Sequence[str] = ()) -> None:
        """Read the rows of one more table."""
        names = list(wanted) or list(self.columns) or list(header)
        for column in names:
            if column not in header:
                raise ValueError(f"{name}: has no column {column!r}, only {', '.join(header)}.")
        if not self.columns:
            self.columns = {column: RawColumn(column) for column in names}
        places = [(self.columns[name], header.index(name)) for name in names]
        self.files.append(name)
        self.starts.append(len(self))
        for line, cells in rows:
            if not cells:
                self.num_empty += 1
                continue
            self.lines.append(line)

            for raw, place in places:
                raw.add(cells[place])

    def __len__(self) -> int:
        return len(self.lines)

    def locate(self, row: int) -> str:
        """Name the file and the line of a row."""
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self.files[file]}, line {self.lines[row]}"
