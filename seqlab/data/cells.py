"""Cells of a table as numbers, as categories or as missing values."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqlab.base.number_text import exact_text
from seqlab.data.column import NumberCell
from seqlab.data.column_reading import ColumnReading, read_column
from seqlab.data.number_formats import PLAIN, NumberFormat, are_truth_values, is_plain

MAX_CATEGORIES = 1000
"""Maximum number of categories of an input."""
MAX_DISTINCT_NUMBERS = 100_000
"""Maximum number of distinct values of a column of numbers for use as classes, groups or folds, to limit memory."""
NO_CODE = -1
"""Code of a number after `MAX_DISTINCT_NUMBERS` others; its text is not kept."""


@dataclass
class RawColumn:
    """The cells of a column, as numbers and as codes of their distinct texts."""

    name: str
    numbers: array[float] = field(default_factory=lambda: array("d"))
    """Numbers as Python and version 1 of the reading parse them; NaN if a cell is not a number."""
    codes: array[int] = field(default_factory=lambda: array("i"))
    """Code of each cell, or `NO_CODE`."""
    names: dict[str, int] = field(default_factory=dict)
    """Text of a cell -> its code."""
    number_codes: set[int] = field(default_factory=set)
    """Codes of cells that were `NumberCell`."""
    _number_of_code: list[float] = field(default_factory=list)
    _has_texts: bool = False
    _reading: tuple[int, ColumnReading] | None = None

    def add(self, cell: str) -> None:
        """Append a cell."""
        is_number, cell = type(cell) is NumberCell, cell.strip()
        code = self.names.get(cell, NO_CODE)
        if code == NO_CODE:
            number = _parse_python_number(cell)
            self._has_texts |= math.isnan(number)
            if self._has_texts or len(self.names) <= MAX_DISTINCT_NUMBERS:
                code = self.names[cell] = len(self.names)
                self._number_of_code.append(number)
        else:
            number = self._number_of_code[code]
        if is_number and code != NO_CODE:
            self.number_codes.add(code)
        self.numbers.append(number)
        self.codes.append(code)

    @property
    def reading(self) -> ColumnReading:
        """How the cells are read, decided over the whole column."""
        if self._reading is None or self._reading[0] != len(self.codes):
            codes = np.frombuffer(self.codes, np.int32) if self.codes else np.zeros(0, np.int32)
            counts = np.bincount(codes[codes != NO_CODE], minlength=len(self.names)).tolist()
            texts: dict[str, int] = {}
            numbers: dict[str, int] = {}
            for name, code in self.names.items():
                (numbers if code in self.number_codes else texts)[name] = counts[code]
            self._reading = len(codes), read_column(texts, numbers)
        return self._reading[1]

    @property
    def is_numeric(self) -> bool:
        """Whether the column is read as numbers."""
        return self.reading.is_numeric

    def values(self) -> NDArray[np.float64]:
        """Return the numbers (rows,) in the column's own format; NaN for other cells."""
        return self.values_as(self.reading.format)

    def values_as(self, number_format: NumberFormat | None) -> NDArray[np.float64]:
        """Return the numbers (rows,) in a format, NaN for other cells; None: as version 1 of the reading.

        Raises:
            ValueError: numbers whose texts are not kept have points, which the format reads as thousands separators.
        """
        found = np.frombuffer(self.numbers, np.float64) if self.numbers else np.zeros(0)
        if number_format is None or not len(found):
            return found
        parsed = self._number_of_code.copy()
        for name, code in self.names.items():
            if code not in self.number_codes and not (number_format == PLAIN and is_plain(name)):
                value = number_format.parse(name)
                parsed[code] = np.nan if value is None else value
        codes = np.frombuffer(self.codes, np.int32)
        has_code = codes != NO_CODE
        if number_format.group == "." and not has_code.all():
            raise ValueError(
                f"The column {self.name!r} has more than {MAX_DISTINCT_NUMBERS:,} different numbers with points as "
                "thousands separators: write them without separators."
            )
        return np.where(has_code, np.array(parsed)[codes], found)

    def binary_values(self) -> NDArray[np.float64]:
        """Return the numbers (rows,) of a label: truth values such as `yes` and `no` as 1 and 0, else as `values`."""
        return self.values_as(NumberFormat(is_truth=True)) if are_truth_values(self.names) else self.values()

    def categories(self) -> NDArray[np.int32]:
        """Return the codes (rows,); raises ValueError if the column has too many distinct numbers."""
        codes = np.frombuffer(self.codes, np.int32) if self.codes else np.zeros(0, np.int32)
        if (codes == NO_CODE).any():
            raise ValueError(
                f"The column {self.name!r} has more than {MAX_DISTINCT_NUMBERS:,} different numbers, too many for "
                "categories, classes, groups or folds."
            )
        return codes

    def first_row(self, cell: str) -> int:
        """Return the first row with a cell."""
        return self.codes.index(self.names[cell])

    def text(self, row: int) -> str:
        """Return the text of a row; empty if it is not kept."""
        code = self.codes[row]
        return "" if code == NO_CODE else list(self.names)[code]


def plain_numbers(cells: Sequence[str]) -> list[str]:
    """Return the cells of a column of numbers in the format of programs; other columns unchanged.

    A space separates numbers rather than thousands.
    """
    column = RawColumn("")
    for cell in cells:
        column.add(cell)
    number_format, values = column.reading.format, column.values()
    is_plain_or_list = number_format in (None, PLAIN) or number_format.group == " "
    if is_plain_or_list or column.reading.problem is not None or np.isnan(values).any():
        return list(cells)
    return [exact_text(value) for value in values.tolist()]


def _parse_python_number(cell: str) -> float:
    """Parse a finite number as Python does, or true and false as 1 and 0; NaN for any other cell."""
    lower = cell.lower()
    if lower in ("true", "false"):
        return float(lower == "true")
    try:
        value = float(cell)
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan
