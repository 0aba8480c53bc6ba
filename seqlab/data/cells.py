"""Cells of a table as numbers, as categories or as missing values."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqlab.base.number_text import exact_text
from seqlab.data.column import NumberCell, NumberListCell
from seqlab.data.column_reading import ColumnReading, read_column, read_lists, read_plain
from seqlab.data.number_formats import PLAIN, NumberFormat, are_truth_values

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
    number_list: str = ""
    """The first cell that was a `NumberListCell`."""
    _number_of_code: list[float] = field(default_factory=list)
    _other_codes: list[int] = field(default_factory=list)
    """Codes of cells that are not numbers in the format of programs (`is_plain`)."""
    _has_texts: bool = False
    _reading: tuple[int, ColumnReading] | None = None
    _values: tuple[int, NumberFormat, NDArray[np.float64]] | None = None
    """Number of cells, and the result of the last call of `values_as`."""

    def add(self, cell: str) -> None:
        """Append a cell."""
        if type(cell) is NumberListCell:
            self.number_list = self.number_list or cell
        is_number, cell = type(cell) is NumberCell, cell.strip()
        code = self.names.get(cell, NO_CODE)
        if code == NO_CODE:
            number = _parse_python_number(cell)
            self._has_texts |= math.isnan(number)
            if self._has_texts or len(self.names) <= MAX_DISTINCT_NUMBERS:
                code = self.names[cell] = len(self.names)
                self._number_of_code.append(number)
                if math.isnan(number) or "_" in cell or not cell.isascii() or cell[0] in "tTfF":
                    self._other_codes.append(code)
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
            texts = dict(zip(self.names, counts, strict=True))
            if self.names and not self._other_codes and not self.number_codes:
                self._reading = len(codes), read_plain(texts)
                return self._reading[1]
            names = list(self.names)
            numbers = {names[code]: texts.pop(names[code]) for code in sorted(self.number_codes)}
            is_list = bool(self.number_list)
            self._reading = len(codes), read_lists(self.number_list) if is_list else read_column(texts, numbers)
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
        numbers = np.frombuffer(self.numbers, np.float64) if self.numbers else np.zeros(0)
        if number_format is None or not len(numbers):
            return numbers
        if self._values is not None and self._values[:2] == (len(numbers), number_format):
            return self._values[2]
        parsed = self._parse_names(number_format)
        codes = np.frombuffer(self.codes, np.int32)
        has_code = codes != NO_CODE
        if number_format.group == "." and not has_code.all():
            raise ValueError(
                f"The column {self.name!r} has more than {MAX_DISTINCT_NUMBERS:,} different numbers with points as "
                "thousands separators: write them without separators."
            )
        values = np.where(has_code, parsed[codes], numbers)
        values.setflags(write=False)
        self._values = len(numbers), number_format, values
        return values

    def _parse_names(self, number_format: NumberFormat) -> NDArray[np.float64]:
        """Return the number of each code; NaN for cells in another format."""
        numbers, names = np.array(self._number_of_code), list(self.names)
        for code in self._other_codes if number_format == PLAIN else range(len(names)):
            if code not in self.number_codes:
                value = number_format.parse(names[code])
                numbers[code] = np.nan if value is None else value
            elif number_format.is_truth and numbers[code] not in (0, 1):
                numbers[code] = np.nan
        return numbers

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
    try:
        value = float(cell)
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(cell.lower(), math.nan)
    return value if math.isfinite(value) else math.nan
