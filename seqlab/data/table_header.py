"""Header of a table with separated cells: the separator, and the names of the columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from contextlib import suppress

SEPARATORS = ",;\t|"


def check_header(header: Sequence[str], name: str, columns: Sequence[str] = (), comments: Sequence[str] = ()) -> None:
    """Raise ValueError for columns with the same name, without a name, or missing.

    Args:
        header: the names of all columns.
        name: name of the table in messages.
        columns: the columns to read, to which the check is restricted; if it is empty, all are read.
        comments: the lines before the header that were left out.
    """
    for column in header:
        if header.count(column) > 1 and (not columns or column in columns):
            raise ValueError(f"{name}: has {header.count(column)} columns {column!r}: rename all but one.")
    if not columns and "" in header:
        hint = "" if header[0] else " The first one may be row numbers of pandas: write it by `to_csv(index=False)`."
        raise ValueError(f"{name}: has a column without a name in its header: name it, or delete the column.{hint}")
    for column in columns:
        if column not in header:
            raise ValueError(unknown_column(name, column, header, comments))


def unknown_column(name: str, column: str, header: Sequence[str], comments: Sequence[str] = ()) -> str:
    """Return the message for a column that a table lacks, with the columns that it has; see `check_header`."""
    hint = ""
    if comments:
        lines = f"{len(comments)} lines of comments were" if len(comments) > 1 else "a comment was"
        hint = f" Before the header, {lines} left out ({comments[-1]!r:.60}): if this is the header, remove its `#`."
    elif len(header) == 1 and " " in header[0]:
        hint = " Cells between spaces are not read: separate them by commas or tabs."
    elif any(map(is_number, header)):
        hint = " If these are data, add a first line with the names of the columns."
    return f"{name}: has no column {column!r}, only {', '.join(header)}.{hint}{lookalike_hint(column, header)}"


def lookalike_hint(column: str, header: Sequence[str]) -> str:
    """Return the sentence on a column whose name only looks like another one; empty if there is none."""
    from seqlab.text.scripts import visible_text  # imports the tokenizers, which slows down --help

    same = next((name for name in header if visible_text(name).strip() == visible_text(column).strip()), None)
    if same is None or same == column:
        return ""
    return f" The name {same!a} looks like {column!a}, but has other characters: rename the column."


def detect_separator(header: str, rows: Sequence[str], default: str) -> str:
    """Return the separator of the cells: the default one unless it does not separate the first lines, and another does.

    A separator fits if the header has several cells, and the first of the lines `rows` as many.
    """
    counts = {separator: count_cells([header], separator) for separator in (default, *SEPARATORS)}
    fitting = [sep for sep, count in counts.items() if count > 1 and (not rows or count_cells(rows, sep) == count)]
    return default if default in fitting or not fitting else max(fitting, key=counts.__getitem__)


def other_separator(header: str, rows: Sequence[str], separator: str) -> str | None:
    """Return another separator that gives all rows as many cells as the header, as `separator` does; None for none.

    Tabs separate cells wherever they occur: writers of other tables replace them.
    """
    if separator == "\t" or not rows or not _separates_all(header, rows, separator):
        return None
    return next(
        (candidate for candidate in SEPARATORS if candidate != separator and _separates_all(header, rows, candidate)),
        None,
    )


def _separates_all(header: str, rows: Sequence[str], separator: str) -> bool:
    width = count_cells([header], separator)
    if width < 2:
        return False
    with suppress(csv.Error):
        return all(len(cells) == width for cells in csv.reader(rows, delimiter=separator) if cells)
    return False


def count_cells(lines: Sequence[str], separator: str) -> int:
    """Count the cells of the row that starts with the first line, and may include the following ones."""
    if '"' not in lines[0] or separator == "\t":
        return lines[0].count(separator) + 1
    return len(first_cells(lines, separator))


def first_cells(lines: Sequence[str], separator: str) -> list[str]:
    """Return the cells of the row that starts with the first line; none if it cannot be separated."""
    try:
        return next(csv.reader(lines, delimiter=separator), [])
    except csv.Error:
        return []


def are_numbers(cells: Sequence[str]) -> bool:
    """Return whether all cells are numbers, and not all of them whole, as years that name columns are."""
    return all(map(is_number, cells)) and not all(cell.strip().isdecimal() for cell in cells)


def is_number(cell: str) -> bool:
    """Return whether a cell is a finite number as Python writes it."""
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
