"""Rows of tables with separated cells: .csv and .tsv files, and tables on standard input.

Quotation marks are read as the writers of the two formats mean them. Where commas, semicolons or bars separate the
cells, a cell in quotation marks may hold separators, line breaks and doubled quotation marks (RFC 4180). Where tabs
separate them, most writers put no quotation marks around cells, so that those in a text are literal: they are removed
only if they enclose the whole cell, and doubled inside it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from seqlab.base.raw_lines import MAX_ROW_BYTES, ROW_LIMIT
from seqlab.base.reading_notes import READ_AS_MEANT, READING_VERSION, ReadingNotes
from seqlab.data.file_types import uncompressed_name
from seqlab.data.readers import DiscardedLine, Lines, read_lines
from seqlab.data.table_header import (
    are_numbers,
    check_header,
    detect_separator,
    first_cells,
    is_number,
    other_separator,
)

Row = tuple[int, Sequence[str]]
"""Number of the last line of the row, from 1, or of the record, and the cells; none for an empty line."""
Reject = Callable[[str], None]
"""Function that receives the message about a row that cannot be read, which then counts as an empty line."""
MAX_LINES_OF_CELL = 1000
"""Maximum number of lines of a cell with line breaks in a table with tabs."""
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?')
"""First line that Excel reads as the separator."""
_QUOTED_AFTER_SPACE = re.compile(r'\s+".*"\s*', re.DOTALL)


class Rows:
    """Rows, with the unit that their numbers count: `line`, `record` or `entry`."""

    def __init__(self, rows: Iterator[Row], unit: str) -> None:
        self._rows, self.unit = rows, unit

    def __iter__(self) -> Iterator[Row]:
        return self._rows


class RejectedRow(list[str]):
    """The cells of a row that cannot be read: none. A time series has a row in its place, unlike for an empty line."""


def raise_error(message: str) -> None:
    """Raise the message about a row as ValueError."""
    raise ValueError(message)


class _RowError(ValueError):
    """Error in one row, after which the next row can be read."""


class DelimitedRows:
    """Reader of the rows of a table after its header.

    `header` holds the names of the columns, without spaces around them; empty if the table has none.
    """

    def __init__(
        self,
        lines: Iterable[str],
        name: str,
        separator: str,
        *,
        has_header: bool = True,
        reading: int = READING_VERSION,
        quotes: bool = True,
        column: str | None = None,
        notes: ReadingNotes | None = None,
    ) -> None:
        """Read the header.

        Args:
            lines: the lines of the table.
            name: name of the table in messages.
            separator: the usual separator of such a file. Another one is detected if it alone separates the cells.
            has_header: whether the first line holds the names of the columns.
            reading: version of the reading; version 1 detects no separator, and reads all quotation marks in one way.
            quotes: whether quotation marks between tabs enclosed cells for version 1; `FILE#COLUMN` left them in.
            column: the only column that is read: its name, or its number if there is no header.
            notes: receives counts of comments, and of what version 1 read differently because of quotation marks.
        """
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))  # csv's own default is 131,072
        self.lines, self.name, self.separator, self.reading = Lines(lines), name, separator, reading
        self.comments: list[str] = []
        """Lines of comments before the header, which are left out."""
        self._quotes, self._num_unnamed, self.num_unquoted = quotes, 0, 0
        """Number of rows with tabs in which quotation marks around a cell were removed."""
        self.notes = ReadingNotes() if notes is None else notes
        self.width: int | None = None  # number of cells of a row; None before the first row
        self.header, self._row_lines = list[str](), list[str]()
        self._csv_reader: Iterator[list[str]] | None = None
        self.column_index: int | None = None
        """Index of the only column that is read; None if all are."""
        if has_header:
            self._read_header()
        if column is not None:
            self.column_index = self._find(column) if has_header else int(column)

    def _find(self, column: str) -> int:
        """Return the index of a column; raise ValueError if there are none or several of its name."""
        check_header(self.header, self.name, [column], self.comments)
        return self.header.index(column)

    def _read_header(self) -> None:
        if self.reading > 1:
            self._skip_to_header()
        try:
            line = next(self.lines)
        except StopIteration:
            raise ValueError(f"{self.name}: is empty, but must start with a line of column names.") from None
        if "\r" in line and self.lines.peek() is None:
            raise ValueError(
                f"{self.name}: its lines end in carriage returns, not newlines: convert it, for example with "
                "`tr '\\r' '\\n'`."
            )
        cells = [cell.strip() for cell in self._cells(line)]
        while self.reading > 1 and len(cells) > 1 and not cells[-1]:  # a separator at the end of each line
            cells.pop()
            self._num_unnamed += 1
        self.header, self.width = cells, len(cells)
        if self.reading > 1 and len(cells) > 1 and are_numbers(cells):
            raise ValueError(
                f"{self.name}, line {self.lines.number}: holds numbers ({', '.join(cells[:3])}, ...), but must hold "
                "the names of the columns: add a line with names."
            )

    def _skip_to_header(self) -> None:
        """Skip empty lines and comments before the header, and detect the separator."""
        first = self.lines.peek()
        match = None if first is None else _EXCEL_SEPARATOR.fullmatch(first.strip("\ufeff"))
        if match is not None:
            self.separator = match[1]
            next(self.lines)
        start = 0  # of the first line that is no comment
        while (line := self.lines.peek(start)) is not None and (not line.strip() or line.startswith("#")):
            start += 1
        if line is None:
            start, line = 0, self.lines.peek()
        if line is None:
            return
        if match is None:
            following = (self.lines.peek(index) for index in range(start + 1, start + 1 + MAX_LINES_OF_CELL))
            rows = [row for row in takewhile(lambda row: row is not None, following) if row]
            self.separator = detect_separator(line, rows, self.separator)
            if (other := other_separator(line, rows, self.separator)) is not None:
                raise ValueError(
                    f"{self.name}, line {self.lines.number + start + 1}: {self.separator!r} and {other!r} may separate "
                    f"the cells ({line!r:.60}): both divide all rows into equal numbers. Put a line `sep=;` (the "
                    "separator) before the header."
                )
        comments = [index for index in range(start) if (self.lines.peek(index) or "").startswith("#")]
        if comments and self._is_header(self.lines.peek(comments[-1]) or "", line):
            start = comments[-1]
        for _ in range(start):
            if (comment := next(self.lines)).strip():
                self.comments.append(comment)
                location = f"{self.name}, line {self.lines.number}"
                self.notes.add("lines of comments before the header were left out", location)

    def _is_header(self, comment: str, row: str) -> bool:
        """Return whether a `#` line is the header itself, as `numpy.savetxt` writes it, and not a comment above it."""
        names, cells = (first_cells([line], self.separator) for line in (comment, row))
        is_first_name = comment.startswith("#") and comment[1:2].strip() != ""
        return len(names) == len(cells) and (is_first_name or any(map(is_number, cells)))

    def rows(self, reject: Reject = raise_error) -> Iterator[Row]:
        """Yield the rows, with as many cells as the header or, without one, the first row.

        `reject` receives the message about a row with another number of cells, which is yielded as a `RejectedRow`.

        Raises:
            ValueError: the rows cannot be told apart because a quotation mark is missing.
        """
        lines, separator = self.lines, self.separator
        first_name = self.header[0] if self.header and self.reading > 1 else None
        mark = '\t"' if separator == "\t" and self.reading > 1 else '"'  # between tabs, only the first one can enclose
        for line in lines:
            if line and line[0] != '"' and mark not in line and "\r" not in line and "\0" not in line:  # most lines
                cells = line.split(separator)
                if len(cells) == self.width and cells[0].strip() != first_name:
                    yield lines.number, cells
                    continue
            try:
                is_empty = not line.strip(" ") and (self.width != 1 or not line)
                cells = [] if is_empty else self._fitted(self._cells(line))
                if isinstance(line, DiscardedLine):
                    cells = RejectedRow()
            except _RowError as error:
                reject(str(error))
                cells = RejectedRow()
            yield lines.number, cells

    def _fitted(self, cells: list[str]) -> list[str]:
        """Return the cells without empty ones after the last column; raise an error for a row of another length."""
        if self.width is None:
            self.width = len(cells)
        if len(cells) == self.width:
            is_like_header = self.reading > 1 and self.width > 1 and cells[0].strip() == "".join(self.header[:1])
            if is_like_header and [cell.strip() for cell in cells] == self.header:
                raise _RowError(
                    f"{self.name}, line {self.lines.number}: repeats the header: if several tables were joined, remove "
                    "the line."
                )
            return cells
        if self.reading > 1 and len(cells) > self.width and not "".join(cells[self.width :]).strip():
            return cells[: self.width]
        location = f"{self.name}, line {self.lines.number}"
        if self.width < len(cells) <= self.width + self._num_unnamed:
            raise _RowError(
                f"{self.name}: has a column without a name in its header, but line {self.lines.number} has "
                f"{cells[-1]!r} there: name the column, or delete it."
            )
        hint = " Comments are left out only before the header." if cells[0].startswith("#") else ""
        if self.separator != "\t":
            names = "column" if self.width == 1 else "columns"
            raise _RowError(f"{location}: has {len(cells)} cells, but the header names {self.width} {names}.{hint}")
        if any(map(_is_open, cells)):
            hint = " A quotation mark opens a cell, but does not close it."
        wrong = "few" if len(cells) < self.width else "many"
        raise _RowError(
            f"{location}: has {len(cells)} columns, but the first line has {self.width}: is there one tab too {wrong}?"
            f"{hint}"
        )

    def _cells(self, line: str) -> list[str]:
        """Return the cells of the row that starts with a line, of which the following lines may be a part."""
        if "\0" in line and self.reading > 1:
            raise _RowError(
                f"{self.name}, line {self.lines.number}: has a NUL character, so it is not a text in UTF-8: convert "
                "it, or remove the character."
            )
        if self.separator == "\t" and (self.reading > 1 or not self._quotes):
            if '"' not in line or self.reading == 1:
                return line.split("\t")
            return self._cells_between_tabs(line)
        if '"' not in line:
            if "\r" in line:
                raise _RowError(
                    f"{self.name}, line {self.lines.number}: the cells cannot be separated (there is a carriage return "
                    "inside the line, which must end in a newline)."
                )
            return line.split(self.separator)
        return self._quoted_cells(line)

    def _quoted_cells(self, first: str) -> list[str]:
        """Return the cells of a row by RFC 4180; raise ValueError if a quotation mark swallows other rows."""
        start, self._row_lines = self.lines.number, [first]
        if self._csv_reader is None:
            self._csv_reader = csv.reader(self._lines_of_rows(), delimiter=self.separator, strict=True)
        try:
            cells = next(self._csv_reader)
        except csv.Error as error:
            self._csv_reader = None
            message = (
                f"{self.name}, line {start}: the cells cannot be separated ({error}): double a quotation mark inside a "
                "cell, and enclose the cell in quotation marks."
            )
            if self.lines.number == start:
                raise _RowError(message) from None
            raise ValueError(f"{message} The one in this line is not closed up to line {self.lines.number}.") from None
        if len(self._row_lines) > 1:
            self._refuse_swallowed_rows(start)
        may_be_quoted = self.reading > 1 and any(' "' in line for line in self._row_lines)
        if may_be_quoted and any(map(_QUOTED_AFTER_SPACE.fullmatch, cells)) and self._quotes_after_spaces(cells):
            raise _RowError(
                f"{self.name}, line {start}: a quotation mark follows a space, so that it does not enclose the cell: "
                "remove the spaces after the separators."
            )
        return cells

    def _lines_of_rows(self) -> Iterator[str]:
        """Yield the first line of each row, and then the lines that `_csv_reader` needs to complete the row."""
        while True:
            row_lines = self._row_lines
            yield f"{row_lines[0]}\n"
            while row_lines is self._row_lines:
                if (line := next(self.lines, None)) is None:
                    return
                row_lines.append(line)
                yield f"{line}\n"

    def _quotes_after_spaces(self, cells: list[str]) -> bool:
        """Return whether a cell starts with spaces and a quotation mark, and is not enclosed in quotation marks."""
        lines = [f"{line}\n" for line in self._row_lines]
        trimmed = next(csv.reader(lines, delimiter=self.separator, skipinitialspace=True))
        return any(one != other and one != other.lstrip() for one, other in zip(trimmed, cells, strict=False))

    def _refuse_swallowed_rows(self, start: int) -> None:
        """Raise ValueError if each line of a row with line breaks would be a row without the quotation marks."""
        if (self.width or 1) < 2:
            return
        split = [line.split(self.separator) for line in self._row_lines]
        if all(len(cells) == self.width and not any(cell.startswith(" ") for cell in cells) for cells in split):
            raise ValueError(
                f"{self.name}, line {start}: a quotation mark opens a cell that ends in line {self.lines.number}, but "
                f"each of these {len(self._row_lines)} lines has the {self.width} cells of a row: remove the quotation "
                "mark, or double it and enclose its cell in quotation marks."
            )

    def _cells_between_tabs(self, first: str) -> list[str]:
        """Return the cells of a row with tabs and quotation marks."""
        cells = first.split("\t")
        fits = self.width in (None, len(cells))
        following = self.lines.peek()
        may_continue = (
            self.width is not None
            and self.width > 1
            and _is_open(cells[-1])
            and following is not None
            and 0 < following.count("\t") + 1 < self.width
        )
        joined = self._joined_cells(first) if may_continue or not fits else None
        values = [_unquoted(cell) for cell in cells] if joined is None else joined
        if joined is None:
            self._note_quotation_marks(cells, values)
        return values

    def _note_quotation_marks(self, literal: list[str], cells: list[str]) -> None:
        """Note the cells of a row that version 1 read with other quotation marks; `literal` have all."""
        location = f"{self.name}, line {self.lines.number}"
        self.num_unquoted += cells != literal
        index = self.column_index
        if index is not None and index < len(cells) and cells[index] != literal[index]:
            self.notes.add("cells are in quotation marks, which were removed", location, since=READ_AS_MEANT)
        if self._quotes and self.width is not None and any(map(_is_open, cells)):
            text = "rows have a cell that starts with a quotation mark, which is part of the text"
            self.notes.add(text, location, since=READ_AS_MEANT)

    def _joined_cells(self, first: str) -> list[str] | None:
        """Return the cells of a row with tabs or line breaks inside quotation marks; None if it is not such a row."""
        text, more = first, 0
        while text.count('"') % 2:
            line = self.lines.peek(more)
            if line is None or more == MAX_LINES_OF_CELL:
                return None
            text, more = f"{text}\n{line}", more + 1
        try:
            [cells] = csv.reader([f"{line}\n" for line in text.split("\n")], delimiter="\t", strict=True)
        except (csv.Error, ValueError):
            return None
        if len(cells) != self.width:
            return None
        for _ in range(more):
            next(self.lines)
        return cells


def _is_open(cell: str) -> bool:
    return cell.startswith('"') and _unquoted(cell) == cell


def _unquoted(cell: str) -> str:
    """Remove quotation marks that enclose a cell, if those inside are doubled; otherwise they are literal."""
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return cell
    inside = cell[1:-1].replace('""', "")
    return cell if '"' in inside else cell[1:-1].replace('""', '"')


def open_table(
    path: Path,
    *,
    has_header: bool = True,
    reading: int = READING_VERSION,
    quotes: bool = True,
    column: str | None = None,
    notes: ReadingNotes | None = None,
) -> DelimitedRows:
    """Open a .csv or .tsv file, which may be compressed, after its header; arguments are those of `DelimitedRows`.

    Raises:
        FileNotFoundError, ValueError: the file cannot be read, or lacks the column; the message has its path.
    """
    separator = "\t" if uncompressed_name(path).endswith(".tsv") else ","
    return DelimitedRows(
        read_lines(path, ROW_LIMIT),
        str(path),
        separator,
        has_header=has_header,
        reading=reading,
        quotes=quotes,
        column=column,
        notes=notes,
    )
