"""Columns of files, and path specs: `file`, `file#column` or `hub:NAME:SPLIT#COLUMN`."""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from seqlab.base.raw_lines import ROW_LIMIT, LineLimit
from seqlab.base.reading_notes import READING_VERSION, ReadingNotes
from seqlab.data.blocks import RawBlock, read_blocks
from seqlab.data.column import Column, Stamp, join_lines, value_as_text
from seqlab.data.conll import TOKEN_SUFFIXES, read_token_sentences
from seqlab.data.conllu import PLUS_SUFFIX, column_number, read_sentences
from seqlab.data.delimited import RejectedRow, open_table
from seqlab.data.file_types import uncompressed_name
from seqlab.data.hub import HUB_PREFIX, parse_hub, require_datasets
from seqlab.data.readers import open_binary, read_lines, require_file
from seqlab.data.records import read_json_records, read_parquet_records

MAX_HINT_BYTES, MAX_HINT_CELLS = 4096, 10
"""Maximum part of the first line of a table that a message shows."""
TABLE_KINDS = ("tsv", "jsonl", "csv", "conllu", "conll", "json", "parquet", "arrow")
SCANNED_KINDS = ("csv", "tsv", "conllu", "conll")
"""Formats of which rows can have several lines, or comments before them."""
MAX_SCANS = 32
"""Maximum number of columns of which scans are kept."""


@dataclass(frozen=True)
class RowScan:
    """Line numbers of the rows of a column, and notes on how they were read."""

    lines: array[int] = field(default_factory=lambda: array("q"))
    notes: ReadingNotes = field(default_factory=ReadingNotes)


_scans: dict[tuple[FileColumn, Stamp], RowScan] = {}
"""Scans of columns that were read completely. A changed file has another stamp."""


@dataclass(frozen=True)
class FileColumn(Column):
    """A text file, or a column of a table."""

    path: Path
    column: str | None = None  # for .tsv a number from 0 or a name in the header; else a key, or a dotted path
    limit: LineLimit = field(default_factory=LineLimit, compare=False, kw_only=True)
    """Limit of the lines of a text; rows of tables have the limit `ROW_LIMIT`."""
    reading: int = field(default=READING_VERSION, kw_only=True)
    """Version of the reading of files."""

    @property
    def source(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        return str(self.path.resolve())

    @property
    def kind(self) -> str:
        """Format of the file: `text` or one of `TABLE_KINDS`."""
        return "text" if self.column is None else _table_kind(self.path) or "text"

    @property
    def has_header(self) -> bool:
        return self.kind == "csv" or (self.kind == "tsv" and not str(self.column).isdecimal())

    def __str__(self) -> str:
        return str(self.path) if self.column is None else f"{self.path}#{self.column}"

    def stamp(self) -> Stamp:
        """Return the stamp of the file; raises FileNotFoundError or ValueError if it does not exist."""
        return stamp_of(self.path)

    def sha256(self) -> str:
        return _hash_file(self.path, self.stamp())

    def num_bytes(self) -> int:
        """Return the size of the file in bytes, 0 if it does not exist."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def line_numbers(self, start: int, count: int) -> Sequence[int]:
        """Return the number, from 1, of the first line of each of `count` records.

        For .json, .parquet and .arrow files, return the record numbers instead. The line of a record with newlines
        inside its cells is the last one.
        """
        if self.kind in SCANNED_KINDS and not self.is_stream:
            lines = self.scan().lines
            if start + count <= len(lines):  # more values than rows if records are split at newlines
                return lines[start : start + count]
        return super().line_numbers(start, count)

    @property
    def is_stream(self) -> bool:
        """Whether the path is a pipe or a device; reading a folder raises an error."""
        return self.path.exists() and not (self.path.is_file() or self.path.is_dir())

    def cells(self) -> Iterator[str]:
        """Yield the lines of a text, or the cells of a column; a missing cell (null, an empty line) is "".

        Raises:
            FileNotFoundError, ValueError: the file cannot be read; the message has its path and, if known, the line.
        """
        if self.column is None:
            return read_lines(self.path, self.limit)
        return self._scanned_values() if self.kind in SCANNED_KINDS else self._record_values(self.column)

    def blocks(self, size: int, *, split_records: bool = False) -> Iterator[RawBlock | list[str]]:
        """Yield the values in blocks of `size` (the last block may be smaller); errors and options as `Column.blocks`.

        Lines of text are not decoded yet, so that worker processes can decode them.
        """
        if self.column is None:
            return read_blocks(self.path, size, self.limit)
        return super().blocks(size, split_records=split_records)

    def scan(self) -> RowScan:
        """Return the line numbers of the rows, and notes on them; the file is read if `cells` has not read it yet."""
        key = self, self.stamp()
        if key not in _scans:
            deque(self._scanned_values(key), maxlen=0)
        return _scans[key]

    def _rows(self) -> Iterator[str]:
        """Yield the lines of a table; the limit of a line is `ROW_LIMIT`, but a .json file may be one line."""
        return read_lines(self.path, LineLimit(None) if self.kind == "json" else ROW_LIMIT)

    def _scanned_values(self, key: tuple[FileColumn, Stamp] | None = None) -> Iterator[str]:
        """Yield the values of the rows, and keep their scan by the key."""
        if key is None and not self.is_stream:
            key = self, self.stamp()
        scan = RowScan()
        keep_line = scan.lines.append
        for line, value in self._numbered_values(str(self.column), scan.notes):
            keep_line(line)
            yield value
        if key is not None:
            while len(_scans) >= MAX_SCANS:
                _scans.pop(next(iter(_scans)), None)
            _scans[key] = scan

    def _numbered_values(self, column: str, notes: ReadingNotes) -> Iterator[tuple[int, str]]:
        """Yield the number of the last line of each row, or of the first line of each sentence, and its value."""
        name = str(self.path)
        if self.kind == "conll":
            for tokens in read_token_sentences(self._rows(), name, column, notes):
                yield tokens.first_line, " ".join(tokens.values)
        elif self.kind == "conllu":
            for sentence in read_sentences(self._rows(), name):
                number = column_number(column, name, sentence.columns)
                yield sentence.first_line, " ".join(sentence.column(number))
        else:
            yield from self._delimited_values(column, notes)

    def _delimited_values(self, column: str, notes: ReadingNotes) -> Iterator[tuple[int, str]]:
        has_header, reading = self.has_header, self.reading
        table = open_table(self.path, has_header=has_header, reading=reading, quotes=False, column=column, notes=notes)
        index = table.column_index
        assert index is not None
        for line, cells in table.rows():
            if cells and index >= len(cells):
                raise ValueError(
                    f"{self.path}, line {line}: column {column} is missing, the line has {len(cells)} (columns are "
                    "separated by tabs and numbered from 0)."
                )
            yield line, cells[index] if cells else ""

    def _record_values(self, column: str) -> Iterator[str]:
        unit = "line" if self.kind == "jsonl" else "record"
        if self.kind in ("jsonl", "json"):
            records = read_json_records(self._rows(), str(self.path), is_document=self.kind == "json")
        elif self.kind == "parquet":
            require_file(self.path)
            _, records = read_parquet_records(self.path, [column])
        else:
            records = enumerate(self._dataset_records(), start=1)
        for number, record in records:
            is_empty = isinstance(record, RejectedRow | None)
            yield "" if is_empty else value_as_text(record, column, f"{self.path}, {unit} {number}")

    def _dataset_records(self) -> Iterator[Any]:
        datasets = require_datasets(f"{self.path}, as all .{self.kind} files")
        require_file(self.path)
        try:
            # Streaming reads the file in place; otherwise `datasets` first copies it into its own cache.
            yield from datasets.load_dataset(self.kind, data_files=str(self.path), split="train", streaming=True)
        except (datasets.exceptions.DatasetsError, ValueError, OSError) as error:
            raise ValueError(f"{self.path}: cannot be read as .{self.kind} ({error}).") from error


@dataclass(frozen=True)
class JoinedColumns(FileColumn):
    """Several columns of one table, joined by tabs: the inputs of an example.

    `column` consists of their names, joined by `+`.
    """

    @property
    def has_header(self) -> bool:
        return self._parts[0].has_header

    @property
    def _parts(self) -> list[FileColumn]:
        return [FileColumn(self.path, name, reading=self.reading) for name in self.names]

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return str(self.column).split("+")

    def scan(self) -> RowScan:
        """Return the line numbers of the rows, and the notes on all columns."""
        scans = [part.scan() for part in self._parts]
        notes = ReadingNotes()
        for scan in scans:
            notes.update(scan.notes)
        return RowScan(scans[0].lines, notes)

    def cells(self) -> Iterator[str]:
        """Yield the joined cells, or "" if all are empty; raises errors as `FileColumn` does."""
        for cells in zip(*(part.cells() for part in self._parts), strict=True):
            yield "\t".join(join_lines(cell).replace("\t", " ") for cell in cells) if any(cells) else ""


def parse_column(spec: str, limit: LineLimit | None = None, reading: int = READING_VERSION) -> Column:
    """Parse a path spec into a column.

    - `file`: a text, plain or compressed (.gz, .bz2, .xz, .zip with one file).
    - `file#column`: a column of a .tsv, .jsonl, .csv, .conllu, .conll, .json (these also compressed), .parquet or
      .arrow file. If there is a file with this full name, including the `#`, it is used instead. `file#lemma+tags`
      means several columns of each record, joined by tabs, unless one column has this full name.
      A record of a .conllu or .conll file is a sentence. A column such as `form` or `0` consists of the values of its
      words, joined by spaces, as are the items of a list in a .jsonl, .json, .parquet or .arrow file.
    - `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`: a dataset by its name on the Hugging Face hub, or by the path of a
      folder that `datasets.load_dataset` reads, such as `hub:Salesforce/wikitext:wikitext-2-v1:train#text`.

    `limit` is that of the lines of a text, `reading` the version of the reading. Raises ValueError for any other spec.
    """
    if spec.startswith(HUB_PREFIX):
        return parse_hub(spec)
    path = Path(spec).expanduser()
    if path.exists() or "#" not in path.name:
        if (kind := _table_kind(path)) is not None:
            example = {"tsv": "0", "conll": "0", "conllu": "form"}.get(kind, "text")
            raise ValueError(
                f"{spec}: a .{kind} file needs the name of a column, for example {spec}#{example}.{_header_hint(path)}"
            )
        return FileColumn(path, limit=limit or LineLimit())
    file, _, column = spec.rpartition("#")
    path = Path(file).expanduser()
    if _table_kind(path) is None:
        kinds = ", ".join(f".{kind}" for kind in TABLE_KINDS)
        raise ValueError(f"{spec}: only {kinds} files have columns, and no file has this full name.")
    names = column.split("+")
    if len(names) > 1 and _has_column(FileColumn(path, column)):
        return FileColumn(path, column, reading=reading)
    if not all(names):
        raise ValueError(f"{spec}: the column after '#' is empty.")
    if len({FileColumn(path, name).has_header for name in names}) > 1:
        raise ValueError(
            f"{spec}: mixes numbers and names of columns, but the first line is either a header or a record: use "
            "only numbers or only names."
        )
    return (FileColumn if len(names) == 1 else JoinedColumns)(path, column, reading=reading)


def _has_column(column: FileColumn) -> bool:
    """Return whether the first record of a file has the column."""
    if column.is_stream:
        return False
    try:
        return next(column.cells(), None) is not None
    except (OSError, ValueError):
        return False


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file; raises FileNotFoundError or ValueError if it does not exist or is a folder."""
    require_file(path)
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@lru_cache(maxsize=1024)
def _hash_file(path: Path, stamp: Stamp) -> str:
    """Return the SHA-256 of a file; `stamp` is part of the key of `lru_cache`, so that a changed file is read again."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _header_hint(path: Path) -> str:
    """Return a sentence with the first cells of a .tsv or .csv file, from which a user sees its columns, or ""."""
    separator = {"tsv": "\t", "csv": ","}.get(str(_table_kind(path)))
    if separator is None or not path.is_file():
        return ""
    with suppress(OSError, EOFError, zlib.error, ValueError), open_binary(path) as file:
        line = file.readline(MAX_HINT_BYTES).decode("utf-8", "replace").rstrip("\r\n")
        cells = ", ".join(map(repr, line.split(separator)[:MAX_HINT_CELLS]))
        return f" Its first line is {cells}: if these are names, use one of them; a number counts the line as data."
    return ""


def _table_kind(path: Path) -> str | None:
    name = uncompressed_name(path)
    if name.endswith((PLUS_SUFFIX, *TOKEN_SUFFIXES)):
        return "conllu" if name.endswith(PLUS_SUFFIX) else "conll"
    kind = next((kind for kind in TABLE_KINDS if name.endswith(f".{kind}")), None)
    return None if kind in ("parquet", "arrow") and name != path.name.lower() else kind
