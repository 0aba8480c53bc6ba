"""Cells of a table as numbers, as categories or as missing values."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MISSING_CELLS = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""Values of missing cells, in lower case; case is ignored."""
TRUTH_VALUES = {"true": 1.0, "false": 0.0}
"""Numbers of boolean values; case is ignored."""
MAX_CATEGORIES = 1000
"""Maximum number of categories of an input."""
MAX_DISTINCT_NUMBERS = 100_000
"""Maximum number of distinct values of a column of numbers for use as classes, groups or folds, to limit memory."""
MIN_TEXT_SHARE = 0.5
"""Minimum share of non-numeric cells in a column of categories; with a smaller share, these cells are errors."""


@dataclass
class RawColumn:
    """The cells of a column, as numbers and as codes of their distinct texts."""

    name: str
    numbers: array[float] = field(default_factory=lambda: array("d"))
    """NaN if a cell is not a number."""
    codes: array[int] = field(default_factory=lambda: array("i"))
    """Code of each cell; incomplete after `MAX_DISTINCT_NUMBERS` distinct numbers."""
    names: dict[str, int] = field(default_factory=dict)
    """Text of a cell -> its code."""
    non_numeric: dict[int, str] = field(default_factory=dict)
    """The first cells that are neither numbers nor missing, by row."""
    num_non_numeric: int = 0
    num_missing: int = 0

    def add(self, cell: str) -> None:
        """Append a cell."""
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
        """Whether more than half of the cells that are not missing are numbers."""
        present = len(self.numbers) - self.num_missing
        return present > 0 and self.num_non_numeric < MIN_TEXT_SHARE * present

    def values(self) -> NDArray[np.float64]:
        """Return the numbers (rows,)."""
        return np.frombuffer(self.numbers, np.float64) if self.numbers else np.zeros(0)

    def categories(self) -> NDArray[np.int32]:
        """Return the codes (rows,); raises ValueError if the column has too many distinct numbers."""
        if len(self.codes) < len(self.numbers):
            raise ValueError(
                f"The column {self.name!r} has more than {MAX_DISTINCT_NUMBERS:,} different numbers, too many for "
                "categories, classes, groups or folds."
            )
        return np.frombuffer(self.codes, np.int32) if self.codes else np.zeros(0, np.int32)


def _parse_number(cell: str) -> float | None:
    """Parse a finite number, or a boolean as 1 or 0; None for any other cell."""
    if cell.lower() in TRUTH_VALUES:
        return TRUTH_VALUES[cell.lower()]
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
