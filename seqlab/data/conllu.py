"""Reading of CoNLL-U, the format of Universal Dependencies (https://universaldependencies.org/format.html).

A word is a line of ten columns, an empty line ends a sentence, and comments start with `#`. Multiword tokens (`1-2`)
and empty nodes (`1.1`) do not count as words; labeled sentences contain them unchanged. The first line of CoNLL-U Plus
(https://universaldependencies.org/ext-format.html) names other columns: `# global.columns = ID FORM UPOS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

COLUMNS: tuple[str, ...] = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
FORM = COLUMNS.index("form")
PLUS_SUFFIX = ".conllup"
_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=(.*)")
_NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")
UNKNOWN = "_"
"""Value of a column that is unknown or empty."""
OPTIONAL_COLUMNS = ("feats", "deps", "misc")
"""Columns that are empty for many words."""
MIN_COLUMNS = FORM + 1
"""Minimum number of columns of a line: some treebanks omit the last columns."""


def column_number(name: str, location: str, columns: Sequence[str] = COLUMNS) -> int:
    """Return the index of a column; raises ValueError for an unknown name; `location` is for messages."""
    if name.lower() not in columns:
        which = "of CoNLL-U" if columns == COLUMNS else "that its first line names"
        is_plus = columns == COLUMNS and location.lower().removesuffix(".gz").endswith(PLUS_SUFFIX)
        advice = " To name others, start the file with `# global.columns = ID FORM ...`." * is_plus
        raise ValueError(f"{location}: has no column {name!r}: the columns {which} are {', '.join(columns)}.{advice}")
    return columns.index(name.lower())


@dataclass(frozen=True)
class Sentence:
    """The lines of a sentence as in the file, without the empty line after them."""

    name: str  # of the file
    first_line: int  # from 1
    lines: list[str]
    columns: tuple[str, ...] = COLUMNS
    """Names of the columns, in lower case."""

    @property
    def location(self) -> str:
        """File and first line of the sentence."""
        return f"{self.name}, line {self.first_line}"

    @property
    def words(self) -> list[int]:
        """Indices of the lines that are words."""
        return [i for i, line in enumerate(self.lines) if line.split("\t", 1)[0].isdigit()]

    def column(self, number: int) -> list[str]:
        """Return the values of a column, one for each word; spaces within a value become `_`.

        Raises:
            ValueError: a line lacks the column, or its value is empty; the message has the file and the line.
        """
        values = []
        for i in self.words:
            fields = self.lines[i].split("\t")
            location = f"{self.name}, line {self.first_line + i}"
            if number >= len(fields):
                raise ValueError(f"{location}: has {len(fields)} columns, so `{self.columns[number]}` is missing.")
            value = "_".join(fields[number].split())
            if not value:
                raise ValueError(f"{location}: `{self.columns[number]}` is empty: write `_` for an unknown value.")
            values.append(value)
        return values

    def with_column(self, number: int, values: Sequence[str]) -> list[str]:
        """Return the lines with new values in a column of the words; missing columns before it become `_`."""
        new_values = dict(zip(self.words, values, strict=True))
        lines = []
        for i, line in enumerate(self.lines):
            fields = line.split("\t")
            if not line.startswith("#"):
                fields += [UNKNOWN] * (number + 1 - len(fields))
            if i in new_values:
                fields[number] = new_values[i]
            lines.append("\t".join(fields))
        return lines


def read_sentences(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    """Yield the sentences of a file, each as soon as it is read; comments without words count as a sentence.

    Raises:
        ValueError: a line is neither a comment nor a row with as many columns as the first row; the message has the
            file and the line.
    """
    block: list[str] = []
    width, number, columns = None, 0, COLUMNS
    for number, line in enumerate(lines, start=1):
        if number == 1:
            columns = _named_columns(line, name)
        if line.strip():
            width = _checked_width(line, width, f"{name}, line {number}")
            block.append(line)
        else:
            yield Sentence(name, number - len(block), block, columns)
            block = []
    if block:
        yield Sentence(name, number - len(block) + 1, block, columns)


def _named_columns(line: str, name: str) -> tuple[str, ...]:
    """Return the columns that the first line of CoNLL-U Plus names, in lower case; `COLUMNS` if it names none.

    Raises:
        ValueError: ID is not the first column, FORM is missing, or the file is named like one with `COLUMNS`.
    """
    match = _GLOBAL_COLUMNS.fullmatch(line.strip())
    columns = COLUMNS if match is None else tuple(match[1].lower().split())
    if columns[:1] != COLUMNS[:1] or "form" not in columns:
        raise ValueError(f"{name}, line 1: `global.columns` must start with ID and contain FORM.")
    if columns != COLUMNS and name.lower().removesuffix(".gz").endswith(".conllu"):
        raise ValueError(f"{name}, line 1: names other columns than CoNLL-U has: rename the file to {PLUS_SUFFIX}.")
    return columns


def _checked_width(line: str, width: int | None, location: str) -> int | None:
    """Check a line; return the number of columns: `width`, or that of this line if it is the first row."""
    if line.startswith("#"):
        return width
    fields = line.split("\t")
    if not _NUMBER.fullmatch(fields[0]) or len(fields) < MIN_COLUMNS:
        raise ValueError(
            f"{location}: is not a line of CoNLL-U: it has {len(fields)} columns, separated by tabs, and starts with "
            f"{fields[0]!r:.40}; a word starts with its number (`3`, `3-4`, `3.1`), a comment with `#`."
        )
    if width not in (None, len(fields)):
        raise ValueError(f"{location}: has {len(fields)} columns, separated by tabs, but the first row has {width}.")
    return len(fields)
