"""Checks of the cells of a class target: missing values, and different spellings of one value."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from decimal import Decimal

import numpy as np

from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.cells import RawColumn
from seqlab.data.column_reading import MAYBE_MISSING, missing_classes
from seqlab.data.number_formats import TRUTH_VALUES, are_truth_values, split_number
from seqlab.data.tables import RawTable

_DECIMAL_COMMA = re.compile(r"(\d),(\d{1,2}|\d{4,})$")
"""A comma that cannot separate thousands."""


def refuse_missing_cells(column: RawColumn, table: RawTable, known: Collection[str], noun: str, advice: str) -> None:
    """Raise ValueError, with the rows, if a cell stands for a missing value and is not one of the classes `known`.

    Args:
        column: the column.
        table: its table, for the location of the row.
        known: values that count as classes even if they look missing.
        noun: what is missing, for the message.
        advice: what to do, for the message.
    """
    missing = [name for name in missing_classes({**column.names, **dict.fromkeys(known)}) if name not in known]
    codes = [column.names[name] for name in missing]
    rows = np.flatnonzero(np.isin(column.categories(), codes))
    if len(rows):
        cell = column.text(int(rows[0]))
        written = f" (it is {cell!r})" if cell else ""
        more = f", and in {len(rows) - 1:,} other rows" if len(rows) > 1 else ""
        raise ValueError(f"{table.locate(int(rows[0]))}: {noun} {column.name!r} is missing{written}{more}: {advice}.")


def note_classes(column: RawColumn, table: RawTable, known: Collection[str], notes: ReadingNotes) -> None:
    """Note the classes that could be taken for missing values, such as `NA`, `none` or `unknown`."""
    for name in known:
        if name.lower() in MAYBE_MISSING and name in column.names:
            rows = np.flatnonzero(column.categories() == column.names[name])
            notes.add(f"cells of {column.name!r} are the class {name!r}", table.locate(int(rows[0])), count=len(rows))


def refuse_two_spellings(
    column: RawColumn, values: Iterable[str], table: RawTable, known: Iterable[str] = (), noun: str = "classes"
) -> None:
    """Raise ValueError, with the row, if two values of a column are one in two spellings; see `two_spellings`."""
    if (pair := two_spellings(values, known)) is not None:
        row = next(column.first_row(cell) for cell in column.names if pair[1] in (cell, *cell.split()))
        raise ValueError(f"{table.locate(row)}: {describe_two_spellings(*pair, f' of {column.name!r}', noun)}")


def two_spellings(values: Iterable[str], known: Iterable[str] = ()) -> tuple[str, str] | None:
    """Return two values that are one number or truth value, such as `1` and `1.0`, or `yes` and `Y`; None without.

    The second one is not among the values `known`, which are not compared with each other.
    """
    known = list(known)
    values = [value for value in dict.fromkeys(values) if value not in {*known}]
    are_truth = len(known) + len(values) > 2 and are_truth_values([*known, *values])
    by_meaning = {_meaning(value, are_truth): value for value in reversed(known)}
    for value in values:
        first = by_meaning.setdefault(_meaning(value, are_truth), value)
        if first != value:
            return first, value
    return None


def describe_two_spellings(first: str, second: str, owner: str = "", noun: str = "classes") -> str:
    """Return the message about two values that are one; `owner` names their column."""
    codes = "" if first.lower() in TRUTH_VALUES.keys() - {"0", "1"} else "; if they are codes, put a letter before each"
    return f"the {noun} {first!r} and {second!r}{owner} are the same value: write it in one way in all rows{codes}."


def _meaning(value: str, is_truth: bool) -> object:
    """Return a key that is equal for two spellings of a number (with digits of any script), or of a truth value."""
    if is_truth:
        return TRUTH_VALUES[value.lower()]
    parts = split_number(value)
    if parts is None or parts.prefix or parts.suffix not in ("", "%"):
        return value
    body = _DECIMAL_COMMA.sub(r"\1.\2", parts.body)
    if not body.replace(".", "", 1).isdecimal():
        return value
    return Decimal(f"{parts.sign}{body}{parts.exponent}"), parts.suffix
