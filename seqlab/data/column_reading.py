"""Decide over a whole column whether its cells are numbers, categories, or neither: then they are refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from seqlab.data.number_formats import (
    PLAIN,
    TRUTH_VALUES,
    NumberFormat,
    NumberParts,
    are_truth_values,
    best_format,
    is_date,
    is_like_number,
    is_number_list,
    is_plain,
    split_number,
    word_after,
)

MISSING_NUMBERS = frozenset(
    {"", "nan", "-nan", "na", "n/a", "null", "none", "nil", "nat", "<na>", "#n/a", "#na", "#null!", "#div/0!",
     "#value!", "#ref!", "\\n", "-", "--", "---", "–", "—", "?", "."}
)  # fmt: skip
"""Cells without a value in a column of numbers, in lower case; case is ignored."""
MISSING_TEXTS = frozenset(
    {"", "NaN", "nan", "-NaN", "-nan", "NA", "N/A", "n/a", "NULL", "null", "None", "NaT", "<NA>", "#N/A", "#NA",
     "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "\\N", "-", "--", "---", "–", "—", "?", "NAN", "-NAN", "n.a.", "N.A.",
     "n.a", "N.A", "(null)", "(NULL)", "<null>", "<NULL>", "[null]", "[NULL]", "<nan>", "<NaN>", "<none>", "<None>",
     "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
)  # fmt: skip
"""Cells without a value in a column of texts, as programs write them. `none` and `Null` are words, or names."""
MAYBE_MISSING = {
    *MISSING_NUMBERS,
    *map(str.lower, MISSING_TEXTS),
    *("missing", "unknown", "undefined", "unspecified", "not available", "no data"),
}
"""Cells, in lower case, that the report names if they are a class: they may stand for a missing value."""
COUNTRIES_AND_CONTINENTS = frozenset(
    re.findall(
        "..",
        "ADAEAFAGAIALAMANAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCX"
        "CYCZDEDJDKDMDODZECEEEGEHERESETEUFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRIS"
        "ITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNI"
        "NLNONPNRNUNZOCOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTK"
        "TLTMTNTOTRTTTVTWTZUAUGUKUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW",
    )
)
"""Codes of countries (ISO 3166-1) and continents: `NA` is Namibia, or North America."""
NUMBERS_BESIDE_NULL = frozenset({"zwei", "drei", "tre", "kaks", "kolm"})
"""Numbers of languages in which `null` is zero."""
MIN_TEXT_SHARE = 0.5
"""Minimum share of non-numeric cells in a column of categories; with a smaller share, these cells are errors."""
FEW_VALUES = 20
"""Up to this number of different values, digits with letters after them are categories: `4G`, `2 doors`."""
MAX_UNITS = 3
"""Maximum number of different words after the numbers of a column that may be units."""
EXACT_INTEGERS = 2**53
"""Integers up to this one are exact in double precision."""
_COMPACT_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_DAY_AND_MONTH = re.compile(r"(0?[1-9]|[12]\d|3[01])\.(0?[1-9]|1[0-2])")
REMEDY = "{remedy}"
"""In the text of a problem: the option that reads the column as categories."""


@dataclass(frozen=True)
class Problem:
    """A cell because of which a column cannot be read."""

    cell: str
    text: str
    """What is wrong, and what to do; see `REMEDY`."""


@dataclass(frozen=True)
class CellNote:
    """Cells that are read in a way that the report names."""

    text: str
    cell: str
    """The first of them."""
    count: int


@dataclass(frozen=True)
class ColumnReading:
    """How the cells of a column are read."""

    is_numeric: bool
    """Whether the column has numbers rather than categories."""
    format: NumberFormat | None = None
    """Format of its numbers; None if no cell is a number."""
    problem: Problem | None = None
    notes: list[CellNote] = field(default_factory=list)


def read_column(texts: Mapping[str, int], numbers: Mapping[str, int] = MappingProxyType({})) -> ColumnReading:
    """Decide how to read a column, given how often each cell occurs.

    Args:
        texts: cells of unknown type.
        numbers: cells that are numbers in the file, in the format of programs.
    """
    cells = {cell: count for cell, count in texts.items() if cell.lower() not in MISSING_NUMBERS}
    numbers = {cell: count for cell, count in numbers.items() if cell.lower() not in MISSING_NUMBERS}
    if not cells:
        return ColumnReading(bool(numbers), PLAIN if numbers else None, _equal_long_integers(numbers))
    if not numbers and (reading := _read_truth_values(cells)) is not None:
        return reading
    if all(map(is_plain, cells)):
        return read_plain(cells)
    number_format = best_format(cells)
    other_cells = {cell: count for cell, count in cells.items() if number_format.parse(cell) is None}
    if other_cells:
        return _read_mixed(dict(Counter(cells) + Counter(numbers)), other_cells, number_format)
    return read_plain(cells) if number_format == PLAIN else _read_formatted(cells, number_format)


def missing_classes(cells: Iterable[str]) -> list[str]:
    """Return the cells of a column of classes or groups that stand for a missing value.

    `NA` is a class if all others are codes of countries or continents; `-` if there is a class `+`; `null` among
    German, Danish or Estonian numbers, where it is zero.
    """
    names = list(cells)
    present = [name for name in names if name not in MISSING_TEXTS]
    are_codes = len(present) > 1 and COUNTRIES_AND_CONTINENTS.issuperset(present)
    meant = ({"NA"} if are_codes else set()) | ({"-"} if "+" in present else set())
    meant |= set() if NUMBERS_BESIDE_NULL.isdisjoint(present) else {"null"}
    return [name for name in names if name in MISSING_TEXTS and name not in meant]


def _read_truth_values(cells: Mapping[str, int]) -> ColumnReading | None:
    """Read a column of truth values as 1 and 0 if it has several spellings of one; None for any other column."""
    if not are_truth_values(cells) or cells.keys() <= {"0", "1"}:
        return None
    spellings = {value: [cell for cell in cells if TRUTH_VALUES[cell.lower()] == value] for value in (1.0, 0.0)}
    counts = sorted(map(len, spellings.values()))
    is_boolean = {cell.lower() for cell in cells} <= {"true", "false", "0", "1"}
    if not is_boolean and (counts[0] == 0 or counts[1] == 1):
        return ColumnReading(is_numeric=False)
    note = CellNote("are truth values, read as 1 and 0", next(iter(cells)), sum(cells.values()))
    return ColumnReading(True, NumberFormat(is_truth=True), notes=[] if is_boolean else [note])


def read_plain(cells: Mapping[str, int]) -> ColumnReading:
    """Read a column, given how often each cell occurs, in which each is a plain number: as numbers, or as codes."""
    padded = [cell for cell in cells if len(cell) > 1 and cell[0] == "0" and cell.isdecimal()]
    if padded and all(cell.isdecimal() for cell in cells):
        note = CellNote("are codes with leading zeros, read as categories", padded[0], sum(cells.values()))
        return ColumnReading(False, PLAIN, notes=[note])
    problem = _equal_long_integers(cells) or _points_before_three_digits(cells) or _codes_with_exponents(cells)
    notes = []
    if example := _example_of_dates(cells):
        text = f"look like {example}, read as plain numbers"
        notes.append(CellNote(text, next(iter(cells)), sum(cells.values())))
    return ColumnReading(True, PLAIN, problem, notes)


def _example_of_dates(cells: Mapping[str, int]) -> str:
    """Return what plain numbers look like if all of them may be dates; else empty."""
    if len(cells) > 1 and all(map(_COMPACT_DATE.fullmatch, cells)):
        return "dates (20240131)"
    may_be_days = len(cells) >= FEW_VALUES and all(map(_DAY_AND_MONTH.fullmatch, cells))
    return "days and months (31.12)" if may_be_days and any(cell[-3] == "." for cell in cells) else ""


def read_lists(cell: str) -> ColumnReading:
    """Refuse a column of lists of numbers, such as `cell`: it is neither one number nor a category."""
    text = f"is {cell!r}, several numbers: give each of them a column of its own, or {REMEDY} if a cell is a category"
    return ColumnReading(True, PLAIN, Problem(cell, text))


def _equal_long_integers(cells: Mapping[str, int]) -> Problem | None:
    """Find an integer that differs from another one of the column, but not in double precision."""
    seen: dict[float, int] = {}
    for cell in cells:
        if len(cell) > 15 and cell.lstrip("+-").isdecimal():
            exact = int(cell)
            if abs(exact) > EXACT_INTEGERS and seen.setdefault(float(exact), exact) != exact:
                return Problem(
                    cell,
                    f"is {cell!r}, which differs from {seen[float(exact)]} by less than double precision resolves: if "
                    f"these are ids, leave the column out, or {REMEDY}; otherwise round the numbers",
                )
    return None


def _codes_with_exponents(cells: Mapping[str, int]) -> Problem | None:
    """Find `12E5` in a column in which all cells are like it: programs write numbers as `1.2e+06`."""
    if not all(re.fullmatch(r"\d+[eE]\d+", cell) for cell in cells):
        return None
    cell = next(iter(cells))
    return Problem(cell, f"is {cell!r}, which may be a code or a number: write numbers without exponents, or {REMEDY}")


def _points_before_three_digits(cells: Mapping[str, int]) -> Problem | None:
    """Find `12.500` in a column with `950`, or `2.155` with `6`: the point may separate thousands.

    A program that writes `12.500` for 12.5 writes `950.000` for 950. One that leaves out zeros writes a tenth of the
    numbers with fewer than three decimals.
    """
    with_point = [cell for cell in cells if "." in cell]
    whole = [cell for cell in cells if "." not in cell]
    if not all(re.fullmatch(r"[-+]?[1-9]\d{0,2}\.\d{3}", cell) for cell in with_point):
        return None
    if not with_point or not whole or not all(re.fullmatch(r"[-+]?\d{1,3}", cell) for cell in whole):
        return None
    cell = next((cell for cell in with_point if cell.endswith("0")), with_point[0])
    return Problem(
        cell,
        f"{_may_be_thousands(cell, 'point')}, and other cells have none ({whole[0]!r}): write thousands without "
        f"points, and decimals in all cells ('{whole[0]}.000')",
    )


def _read_formatted(cells: Mapping[str, int], number_format: NumberFormat) -> ColumnReading:
    """Read a column in which each cell is a number of one format other than that of programs."""
    parts = {cell: split for cell in cells if (split := split_number(cell)) is not None}
    has_letters = number_format.suffix[:1].isalpha()
    if has_letters and len(cells) <= FEW_VALUES and all(part.is_glued_integer for part in parts.values()):
        return ColumnReading(is_numeric=False)
    first = next(cell for cell in cells if not is_plain(cell))
    note = CellNote(f"are read as numbers {number_format}", first, sum(cells.values()))
    return ColumnReading(True, number_format, _ambiguous_comma(parts) or _ambiguous_space(parts), [note])


def _ambiguous_comma(parts: Mapping[str, NumberParts]) -> Problem | None:
    """Find `1,234` in a column in which each number has three digits after its only comma.

    A number below 1,000 without a comma shows that the comma separates thousands.
    """
    with_comma = [cell for cell, part in parts.items() if "," in part.body]
    if not with_comma or not all(re.fullmatch(r"[1-9]\d{0,2},\d{3}", parts[cell].body) for cell in with_comma):
        return None
    whole = [part.body for cell, part in parts.items() if "," not in part.body]
    if whole and all(re.fullmatch(r"\d{1,3}", body) for body in whole):
        return None
    text = f"{_may_be_thousands(with_comma[0], 'comma')}: write thousands without separators, and decimals with a point"
    return Problem(with_comma[0], text)


def _ambiguous_space(parts: Mapping[str, NumberParts]) -> Problem | None:
    """Find `100 200` in a column in which each cell has groups of three digits: it may be a list of numbers."""
    if not all(re.fullmatch(r"\d{3}( \d{3})+", part.body) for part in parts.values()):
        return None
    cell = next(iter(parts))
    text = f"is {cell!r}, which may be one number or several, as may all cells of the column: write it without spaces"
    return Problem(cell, f"{text} as one number, in columns of their own as several, or {REMEDY}")


def _may_be_thousands(cell: str, sign: str) -> str:
    return (
        f"is {cell!r}: the {sign} may separate thousands or decimals, because three digits follow the {sign} in every "
        "such cell"
    )


def _read_mixed(cells: Mapping[str, int], other_cells: Mapping[str, int], number_format: NumberFormat) -> ColumnReading:
    """Read a column in which only some cells are numbers of the best format; `other_cells` are the rest."""
    total = sum(cells.values())
    if all(map(is_number_list, cells)):
        return read_lists(next(iter(cells)))
    if problem := _find_problem(cells, other_cells, total):
        return ColumnReading(True, number_format, problem)
    numbers = [cell for cell in cells if cell not in other_cells]
    if not numbers:
        first = next(iter(cells))
        if all(re.fullmatch(r"[\W\d_]*\d[\W\d_]*", cell) for cell in cells):
            note = CellNote("have digits but are not numbers, and are read as categories", first, total)
            return ColumnReading(False, notes=[note])
        differ_in_digits = len(cells) > 1 and len({re.sub(r"\d+", "0", cell) for cell in cells}) == 1
        note = CellNote("differ only in their digits, and are read as categories", first, total)
        return ColumnReading(False, notes=[note] if differ_in_digits else [])
    note = CellNote("are numbers among texts, read as categories", numbers[0], sum(cells[cell] for cell in numbers))
    return ColumnReading(False, number_format, notes=[note])


def _find_problem(cells: Mapping[str, int], other_cells: Mapping[str, int], total: int) -> Problem | None:
    """Find a cell that shows that a column of `total` cells is neither numbers nor categories; see `_read_mixed`."""

    def are_most(condition: Callable[[str], bool]) -> bool:
        return sum(count for cell, count in cells.items() if condition(cell)) > MIN_TEXT_SHARE * total

    first = next(iter(other_cells))
    if are_most(is_date):
        date = next(filter(is_date, cells))
        return Problem(
            date,
            f"is {date!r}, a date or time: write it as a number (such as days since a start), leave the column out "
            f"(`data.inputs` names the columns that are read), or {REMEDY} if each value is a category",
        )
    words = {word_after(cell) for cell in cells}
    if "" not in words and (len(cells) <= FEW_VALUES or len(words) > MAX_UNITS):  # such as `1st` and `2nd`
        return None
    if sum(other_cells.values()) < MIN_TEXT_SHARE * total:
        return Problem(first, f"is {first!r}, but most cells of the column are numbers: correct it, or {REMEDY}")
    numbers = [cell for cell in cells if cell not in other_cells]
    if are_most(is_like_number):
        number = next(filter(is_like_number, other_cells))
        return Problem(
            number,
            f"is {number!r}, but the numbers of a column must be finite, in one format and with one unit: correct "
            f"them, or {REMEDY}",
        )
    are_fractions = any(re.search(r"\d[.,]\d", cell) for cell in numbers)
    if are_fractions or len(numbers) > max(FEW_VALUES / 2, 2 * len(other_cells)):
        return Problem(first, f"is {first!r}, but other cells are numbers ({numbers[0]}): correct them, or {REMEDY}")
    return None
