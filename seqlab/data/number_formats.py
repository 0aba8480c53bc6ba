"""Formats of numbers in the cells of a column: decimal signs, thousands separators, units, truth values.

A column has one format, which is decided over all of its cells.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

TRUTH_VALUES = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), 1.0),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), 0.0),
}
"""Numbers of truth values; case is ignored."""

_CURRENCY = (
    "[A-Z]{0,3}[$¢-¥\u058f\u060b\u09f2\u09f3\u0e3f\u17db\u20a0-\u20cf]|"
    "USD|EUR|GBP|JPY|CNY|INR|CHF|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|RUB|KRW|TRY|ZAR|HKD|SGD|Rs\\.?"
)
_PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_LETTERS = r"[^\W\d_\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u218b]"
"""Matches a letter, but no superscript or fraction, which changes the number."""
_POWER = rf"[²³]|(?:(?<=m)|(?<={_LETTERS}{{2}}))[23]"
"""Matches the end of `m2` and `km3`, but not that of `Q2`."""
_UNIT = rf"[%‰]|{_CURRENCY}|°?{_LETTERS}{{1,15}}(?:{_POWER})?(?:/{_LETTERS}{{1,8}}[²³23]?)?\.?|°"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)(?P<prefix>(?:{_CURRENCY})?) ?(?P<inner>[-+]?)(?P<body>\d[\d.,' _]*|[.,]\d+)"
    rf"(?P<exponent>(?:[eE][-+]?\d+)?)(?P<suffix>(?:{_UNIT})?)"
)
_TO_ASCII = str.maketrans(
    {
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u2212": "-",
        "\u066b": ".",
        "\u066a": "%",
        "\u066c": ",",
        "\u2019": "'",
    }
    | dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
)
_MONTH = rf"{_LETTERS}{{3,9}}\.?"
_DATE = re.compile(
    r"\d{4}([-/._])\d{1,2}\1\d{1,2}([T ]\d.*)?|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2})( \d.*)?|"
    r"(19|20)\d\d[-/_](0[1-9]|1[0-2])|(\d{4}年)?\d{1,2}月(\d{1,2}日)?|\d{4}年|"
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?[- ]('?\d\d|\d{4})|"
    r"(19|20)\d\d[-/ ]?[QHS][1-4]|[QHS][1-4][-/ ]?(19|20)\d\d|(19|20)\d\d-?W[0-5]\d(-?[1-7])?|"
    rf"{_MONTH} \d{{1,2}},? \d{{4}}|\d{{1,2}}\.?[- ]{_MONTH}[- ]\d{{2,4}}|"
    r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?"
)
_MEASURE = r"h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|d|days?|w|weeks?|months?|y|yrs?|years?|ft|in|lbs?|oz"
_CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
_DURATION = rf"-?\d+ days?,? [-+]?{_CLOCK}|-?P(?=[\dT])(\d+[YMWD])*(T(\d+(\.\d+)?[HMS])+)?"
"""Durations as Python, pandas and ISO 8601 write them."""
_COORDINATE = r"[NSEWO]? ?-?\d{1,3} ?[°º] ?\d{1,2}([.,]\d+)? ?['′’]( ?\d{1,2}([.,]\d+)? ?(\"|″|”|''))? ?[NSEWO]?"
"""Degrees, minutes and seconds of one coordinate."""
_OTHER_NUMBER = re.compile(
    r"[-+]?inf(inity)?|[-+]?0x[\da-f]+|\([\d.,' ]+\)|[\d.,' ]+-|[-+]?\d*\.\d*d[-+]?\d+|true|false|"
    rf"{_DURATION}|{_COORDINATE}(,? {_COORDINATE})?|"
    rf"(\d+(\.\d+)? ?({_MEASURE}),? ?){{2,}}|'[-+]?[\d.,]+'?|=\"[-+]?[\d.,]+\"|"
    r"\d*[\u00bc-\u00be\u2150-\u215e]|\d+[\u00b2\u00b3\u00b9\u2070-\u2079]+",
    re.IGNORECASE,
)
_NUMBER_LIST = re.compile(rf"[(\[]? ?{_PLAIN.pattern}([\s,;]+{_PLAIN.pattern})+ ?[)\]]?", re.ASCII)


@dataclass(frozen=True)
class NumberFormat:
    """Format of the numbers of a column; the default is that of programs: `-1234.5e3`."""

    decimal: str = "."
    group: str = ""
    """Thousands separator, which a number may lack; empty for none."""
    prefix: str = ""
    """Currency before each number."""
    suffix: str = ""
    """Unit, percent sign or currency after each number."""
    is_truth: bool = False
    """Whether the cells are truth values, read as 1 and 0."""

    def parse(self, cell: str) -> float | None:
        """Parse a finite number; None if the cell has another format."""
        if self.is_truth:
            return TRUTH_VALUES.get(cell.lower())
        parts = split_number(cell)
        if parts is None or not self.matches(parts):
            return None
        digits = parts.body.replace(self.group, "") if self.group else parts.body
        value = float(f"{parts.sign}{digits.replace(self.decimal, '.')}{parts.exponent}")
        return value if math.isfinite(value) else None

    def matches(self, parts: NumberParts) -> bool:
        """Return whether the parts of a cell have this format."""
        has_unit = parts.prefix == self.prefix and parts.suffix == self.suffix
        return has_unit and _body_pattern(self.decimal, self.group).fullmatch(parts.body) is not None

    @property
    def description(self) -> str:
        """What a cell of the format must be, for messages."""
        if self.is_truth:
            return "yes or no (or true/false, 1/0)"
        return "a number" if self == PLAIN else f"a number {self}"

    def __str__(self) -> str:
        """Return an example."""
        unit = f" {self.suffix}" if self.suffix[:1].isalpha() else self.suffix
        return f"like {self.prefix}1{self.group}234{self.decimal}5{unit}"


PLAIN = NumberFormat()
FORMATS = [PLAIN] + [
    NumberFormat(decimal, group)
    for decimal, group in (
        (".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"), (".", "_")
    )
]  # fmt: skip
"""Formats in the order in which they are tried."""


class NumberParts(NamedTuple):
    """Parts of a cell that may be a number."""

    sign: str
    prefix: str
    body: str
    """Digits and separators."""
    exponent: str
    suffix: str
    has_space: bool
    """Whether a space follows the digits."""

    @property
    def is_glued_integer(self) -> bool:
        """Whether the unit directly follows an integer, as in `4G`."""
        return self.body.isdecimal() and not self.has_space


def split_number(cell: str) -> NumberParts | None:
    """Split a cell into a number and its unit, with ASCII digits and signs; None if it is neither."""
    text = cell if cell.isascii() else "".join(map(_ascii, cell)).translate(_TO_ASCII)
    match = _NUMBER.fullmatch(text)
    if match is None or (match["sign"] and match["inner"]):
        return None
    body = match["body"].rstrip(" ")
    sign = match["sign"] or match["inner"]
    return NumberParts(sign, match["prefix"], body, match["exponent"], match["suffix"], body != match["body"])


def are_truth_values(cells: Iterable[str]) -> bool:
    """Return whether all cells are truth values; the letters T and F beside Y or N are codes."""
    words: set[str] = set()
    for cell in cells:
        if (word := cell.lower()) not in TRUTH_VALUES:
            return False
        words.add(word)
    return not (words & {"t", "f"} and words & {"y", "n"})


def is_plain(cell: str) -> bool:
    """Return whether a cell is a finite number of ASCII digits in the format of programs."""
    return _PLAIN.fullmatch(cell) is not None and math.isfinite(float(cell))


def is_date(cell: str) -> bool:
    """Return whether a cell is a date, a week, month, quarter or half of a year, or a time of day."""
    return _DATE.fullmatch(cell) is not None


def is_like_number(cell: str) -> bool:
    """Return whether a cell is a number in any format, such as `0x1F`, `(5)`, `inf`, `1h 30m`, or true or false."""
    if (parts := split_number(cell)) is not None:
        return any(
            _body_pattern(number_format.decimal, number_format.group).fullmatch(parts.body) for number_format in FORMATS
        )
    return _OTHER_NUMBER.fullmatch(cell) is not None


def is_number_list(cell: str) -> bool:
    """Return whether a cell is several numbers, in brackets or with decimals: `[1, 2]`, `0.5 2.0`."""
    return _NUMBER_LIST.fullmatch(cell) is not None and (cell[0] in "([" or "." in cell)


def word_after(cell: str) -> str:
    """Return the letters after a number without a currency; empty for any other cell."""
    parts = split_number(cell)
    return parts.suffix if parts is not None and not parts.prefix and parts.suffix[:1].isalpha() else ""


def best_format(cells: Mapping[str, int]) -> NumberFormat:
    """Return the format in which most rows are numbers, given how often each cell occurs; `PLAIN` among equals."""
    splits = [(parts, count) for cell, count in cells.items() if (parts := split_number(cell)) is not None]
    units: Counter[tuple[str, str]] = Counter()
    for parts, count in splits:
        units[parts.prefix, parts.suffix] += count
    if not units:
        return PLAIN
    (prefix, suffix), _ = units.most_common(1)[0]
    formats = [replace(number_format, prefix=prefix, suffix=suffix) for number_format in FORMATS]
    return max(formats, key=lambda candidate: sum(count for parts, count in splits if candidate.matches(parts)))


@lru_cache
def _body_pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Return the pattern of the digits and separators of a format."""
    whole = r"\d+"
    if group:
        whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{re.escape(group)}\d{{3}})+)"
    if group == ",":
        whole = rf"(?:{whole}|[1-9]\d?(?:,\d\d)+,\d{{3}})"  # lakhs and crores
    point = re.escape(decimal)
    return re.compile(rf"{whole}(?:{point}\d{'*' if decimal == '.' else '+'})?|{point}\d+")


def _ascii(character: str) -> str:
    """Return a digit of any script, or a full-width sign, in ASCII; any other character unchanged."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return unicodedata.normalize("NFKC", character) if "\uff01" <= character <= "\uff5e" else character
