"""Path specs: one side of a corpus, named as `file` or `file#column`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from seqlab.data.blocks import RawLines, read_blocks
from seqlab.data.readers import read_lines, require_file

T = TypeVar("T")

MAX_CELL_CHARS = 1 << 24
"""Longest cell of a .csv file. There is a limit so that a quote that is never closed does not hold the whole file."""
TABLE_KINDS = ("tsv", "jsonl", "csv", "json", "parquet", "arrow")


@dataclass(frozen=True)
class Column:
    """One side of a corpus: a text file, or a column of a table."""

    path: Path
    column: str | None = None  # a number from 0 or a header name for .tsv, else a key, dotted when nested

    @property
    def kind(self) -> str:
        """Return how the file is read: `text` or one of `TABLE_KINDS`."""
        return "text" if self.column is None else _table_kind(self.path) or "text"

    @property
    def has_header(self) -> bool:
        return self.kind == "csv" or (self.kind == "tsv" and not str(self.column).isdigit())

    def __str__(self) -> str:
        return str(self.path) if self.column is None else f"{self.path}#{self.column}"

    def line_number(self, index: int) -> int:
        """Return the line of example `index`, or its record in .json, .parquet and .arrow files; both count from 1.

        In a .csv file with newlines inside cells the line is later than this.
        """
        return index + 2 if self.has_header else index + 1

    def values(self) -> Iterator[str]:
        """Yield the examples in file order, one string without a newline each.

        A newline inside a value becomes a space; a missing value (null, an empty line of a .jsonl or .csv file) is an
        empty string.

        Raises:
            FileNotFoundError, ValueError: naming the file and, where there is one, the line.
        """
        if self.column is None:
            return read_lines(self.path)
        if self.kind == "tsv":
            return self._tsv_values(self.column)
        if self.kind == "jsonl":
            return self._jsonl_values(self.column)
        if self.kind == "csv":
            return self._csv_values(self.column)
        return self._dataset_values(self.column)

    def blocks(self, size: int) -> Iterator[RawLines | list[str]]:
        """Yield the examples in file order, `size` at a time (the last may be fewer); errors as in `values`.

        Lines of text come undecoded, so that another process can do that.
        """
        if self.column is None:
            return read_blocks(self.path, size)
        return in_batches(self.values(), size)

    def _tsv_values(self, column: str) -> Iterator[str]:
        lines = read_lines(self.path)
        if self.has_header:
            header = next(lines, "").split("\t")
            if column not in header:
                raise ValueError(f"{self.path}: has no column {column!r}, only {', '.join(header)}.")
            field = header.index(column)
        else:
            field = int(column)
        for index, line in enumerate(lines):
            fields = line.split("\t")
            if field >= len(fields):
                raise ValueError(
                    f"{self.path}, line {self.line_number(index)}: column {column} is missing, the line has "
                    f"{len(fields)} (columns are divided by tabs and numbered from 0)."
                )
            yield fields[field]

    def _jsonl_values(self, column: str) -> Iterator[str]:
        for index, line in enumerate(read_lines(self.path)):
            where = f"{self.path}, line {index + 1}"
            if not line.strip():
                yield ""
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where}: not JSON ({error.msg} at character {error.pos + 1}).") from None
            yield _text_of(record, column, where)

    def _csv_values(self, column: str) -> Iterator[str]:
        # Quoted cells may hold newlines, so the parser needs to see where the lines end.
        lines = (line + "\n" for line in read_lines(self.path))
        rows = csv.reader(lines, strict=True)
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))  # csv's own default is 131,072
        try:
            header = next(rows, [])
            for cells in rows:
                if not cells:
                    yield ""
                    continue
                where = f"{self.path}, line {rows.line_num}"
                if len(cells) != len(header):
                    raise ValueError(f"{where}: has {len(cells)} cells, but the header names {len(header)} columns.")
                yield _text_of(dict(zip(header, cells, strict=True)), column, where)
        except csv.Error as error:
            raise ValueError(f"{self.path}, line {rows.line_num}: not CSV ({error}).") from None

    def _dataset_values(self, column: str) -> Iterator[str]:
        for number, record in enumerate(self._dataset_records(), start=1):
            yield _text_of(record, column, f"{self.path}, record {number}")

    def _dataset_records(self) -> Iterator[Any]:
        try:
            import datasets
        except ImportError:
            raise ValueError(
                f"{self.path}: reading .{self.kind} files needs an extra: pip install 'seqlab[datasets]'."
            ) from None
        require_file(self.path)
        try:
            # Streaming reads the file in place; otherwise datasets first copies it into a cache of its own.
            yield from datasets.load_dataset(self.kind, data_files=str(self.path), split="train", streaming=True)
        except (datasets.exceptions.DatasetsError, ValueError, OSError) as error:
            raise ValueError(f"{self.path}: cannot be read as .{self.kind} ({error}).") from error


def parse_column(spec: str) -> Column:
    """Read a path spec: `file`, or `file#column` for .tsv, .jsonl, .csv (these also .gz), .json, .parquet and .arrow.

    A file whose name really contains the `#` is taken as it is.
    """
    path = Path(spec).expanduser()
    if path.exists() or "#" not in path.name:
        kind = _table_kind(path)
        if kind is not None:
            example = "0" if kind == "tsv" else "text"
            raise ValueError(f"{spec}: a .{kind} file needs the name of a column, for example {spec}#{example}.")
        return Column(path)
    file, _, column = spec.rpartition("#")
    path = Path(file).expanduser()
    if _table_kind(path) is None:
        kinds = ", ".join(f".{kind}" for kind in TABLE_KINDS)
        raise ValueError(f"{spec}: only {kinds} files have columns, and there is no file of this whole name.")
    if not column:
        raise ValueError(f"{spec}: the column after '#' is empty.")
    return Column(path, column)


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _table_kind(path: Path) -> str | None:
    name = path.name.lower()
    unpacked = name.removesuffix(".gz")
    if unpacked.endswith((".tsv", ".jsonl", ".csv")):
        return unpacked.rpartition(".")[2]
    return name.rpartition(".")[2] if name.endswith((".json", ".parquet", ".arrow")) else None


def _text_of(record: Any, column: str, where: str) -> str:
    """Return the text under a key, or under a dotted path of keys."""
    value = record
    keys = [column] if isinstance(record, Mapping) and column in record else column.split(".")
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            found = ", ".join(map(str, value)) if isinstance(value, Mapping) else f"a {type(value).__name__}"
            raise ValueError(f"{where}: has no {column!r}: looking for {key!r}, found {found}.")
        value = value[key]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{where}: {column!r} must be text, but is a {type(value).__name__}.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{where}: {column!r} holds half of a surrogate pair, which is no character.") from None
    return value.replace("\n", " ")
