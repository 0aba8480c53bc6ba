"""Checks of the cells of a class target: missing values, and different spellings of one value."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

from seqlab.base.reading import ReadingNotes
from seqlab.data.cells import RawColumn
from seqlab.data.column_reading import MISSING_NUMBERS, missing_classes
from seqlab.data.number_formats import TRUTH_VALUES, are_truth_values
from seqlab.data.tables import RawTable


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
    """Note the classes that could be taken for missing values, such as `NA` or `none`."""
    for name in known:
        if name.lower() in MISSING_NUMBERS and name in column.names:
            rows = np.flatnonzero(column.categories() == column.names[name])
            notes.add(f"cells of {column.name!r} are the class {name!r}", table.locate(int(rows[0])), count=len(rows))


def refuse_two_spellings(column: RawColumn, values: Sequence[str], table: RawTable) -> None:
    """Raise ValueError if two classes are one number or truth value, such as `1` and `1.0`, or `yes` and `Y`."""
    by_meaning: dict[str, str] = {}
    for value in values:
        first = by_meaning.setdefault(_meaning(value, values), value)
        if first != value:
            raise ValueError(
                f"{table.locate(column.first_row(value))}: the classes {first!r} and {value!r} of {column.name!r} are "
                "the same value: write it in one way in all rows."
            )


def _meaning(value: str, values: Sequence[str]) -> str:
    """Return a key that is equal for two spellings of an integer, or of a truth value among such values."""
    if are_truth_values(values) and len(values) > 2:
        return str(TRUTH_VALUES[value.lower()])
    return value.partition(".")[0] if re.fullmatch(r"-?\d+\.0+", value) else value
