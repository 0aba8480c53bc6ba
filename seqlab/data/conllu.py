"""CoNLL-U, the tables of Universal Dependencies (https://universaldependencies.org/format.html).

A word is a line of ten columns, a sentence ends with an empty line, comments begin with `#`. Ranges (`1-2`, several
words written as one) and empty nodes (`1.1`) are no words: they are passed on and not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
FORM = COLUMNS.index("form")
_NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")
UNKNOWN = "_"
"""What stands for what is not known, or for none."""
OPTIONAL_COLUMNS = ("feats", "deps", "misc")
"""Columns in which words may well have nothing."""
MIN_COLUMNS = FORM + 1
"""Columns that a line needs: treebanks are also passed on without the last ones."""


def column_number(name: str, where: str) -> int:
    """Return which column has this name; raises ValueError, saying where it was asked for, for another name."""
    if name.lower() not in COLUMNS:
        raise ValueError(f"{where}: has no column {name!r}: those of CoNLL-U are {', '.join(COLUMNS)}.")
    return COLUMNS.index(name.lower())


@dataclass(frozen=True)
class Sentence:
    """The lines of a sentence as they are in the file, without the empty one behind them."""

    name: str  # of the file
    first_line: int  # from 1
    lines: list[str]

    @property
    def location(self) -> str:
        """Say where the sentence begins."""
        return f"{self.name}, line {self.first_line}"

    @property
    def words(self) -> list[int]:
        """Return which lines are words."""
        return [i for i, line in enumerate(self.lines) if line.split("\t", 1)[0].isdigit()]

    def column(self, number: int) -> list[str]:
        """Return what the words have in a column; spaces within a word become `_`.

        Raises:
            ValueError: a word's line is too short, or holds nothing there; names the file and the line.
        """
        values = []
        for i in self.words:
            fields = self.lines[i].split("\t")
            where = f"{self.name}, line {self.first_line + i}"
            if number >= len(fields):
                raise ValueError(f"{where}: has {len(fields)} columns, so `{COLUMNS[number]}` is missing.")
            value = "_".join(fields[number].split())
            if not value:
                raise ValueError(f"{where}: `{COLUMNS[number]}` is empty, or blank: write `_` for what is not known.")
            values.append(value)
        return values

    def with_column(self, number: int, values: Sequence[str]) -> list[str]:
        """Return the lines with other values in a column of the words; columns that rows lack up to it are `_`."""
        of_words = dict(zip(self.words, values, strict=True))
        lines = []
        for i, line in enumerate(self.lines):
            fields = line.split("\t")
            if not line.startswith("#"):
                fields += [UNKNOWN] * (number + 1 - len(fields))
            if i in of_words:
                fields[number] = of_words[i]
            lines.append("\t".join(fields))
        return lines


def read_sentences(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    """Yield the sentences of a file, each as soon as it is there; what has no word, as comments alone, is one too.

    Raises:
        ValueError: a line is neither a comment nor a row of as many columns as the first; names the file and the line.
    """
    found: list[str] = []
    width, number = None, 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            width = _checked_width(line, width, f"{name}, line {number}")
            found.append(line)
        else:
            yield Sentence(name, number - len(found), found)
            found = []
    if found:
        yield Sentence(name, number - len(found) + 1, found)


def _checked_width(line: str, width: int | None, where: str) -> int | None:
    """Return how many columns the rows have: `width`, or those of this line where it is the first row."""
    if line.startswith("#"):
        return width
    fields = line.split("\t")
    if not _NUMBER.fullmatch(fields[0]) or len(fields) < MIN_COLUMNS:
        raise ValueError(
            f"{where}: is no line of CoNLL-U: it has {len(fields)} columns, divided by tabs, and begins with "
            f"{fields[0]!r:.40}; a word begins with its number (`3`, `3-4`, `3.1`), a comment with `#`."
        )
    if width not in (None, len(fields)):
        raise ValueError(f"{where}: has {len(fields)} columns, divided by tabs, but the first row has {width}.")
    return len(fields)
