"""Reading of files with one token a line and empty lines between sentences, as in the CoNLL-2003 shared task.

The columns of a line are separated by a tab if the file has tabs, else by spaces. They are named by their number, from
0 (or from the end, as -1), or by the names in a header line. Lines with `-DOCSTART-` and comments (`# id = 1`) are not
tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from seqlab.data.readers import BYTE_ORDER_MARK

SUFFIXES = (".conll", ".iob", ".iob2", ".bio", ".bioes")
DOCUMENT_START = "-DOCSTART-"
_COMMENT = re.compile(r"#\s*[\w.]+\s*=.*|#(begin|end) document.*")
_COMMENT_STARTS = ("# ", "#\t")
TEXT_HEADERS = {"token", "tokens", "word", "words", "form", "text", "sentence", "sentences", "review", "comment"}
LABEL_HEADERS = {
    *("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "upos", "bio", "iob", "entity"),
    *("class", "category", "sentiment", "target", "y", "topic", "type"),
}
"""Usual names of columns, in lower case."""
MAX_CHECKED_ROWS = 1000
"""Maximum number of rows to check for tokens that should be read as sentences."""
MAX_SENTENCE_TOKENS = 100
"""Maximum mean number of tokens of sentences."""


class TokenSentence(NamedTuple):
    """The values of one column of a sentence."""

    first_line: int
    """Line number of the first token, from 1."""
    values: list[str]


def read_token_sentences(lines: Iterable[str], name: str, column: str) -> Iterator[TokenSentence]:
    """Yield one column of each sentence; spaces within a value become `_`.

    Args:
        lines: the lines of a file.
        name: name of the file, for messages.
        column: number of the column, negative from the end, or its name in the header.

    Raises:
        ValueError: a line has too few or too many columns, the column does not exist, or its value is empty; the
            message has the file and the line.
    """
    reader, first = _Reader(name, column), 0
    values: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            value = reader.value(line, number)
            if value is not None:
                first = first if values else number
                values.append(value)
        elif values:
            yield TokenSentence(first, values)
            values = []
            reader.end_sentence()
    if values:
        yield TokenSentence(first, values)


class _Reader:
    """Reader of one column, which learns the separator and the number of columns from the first token.

    The number of columns may differ between sentences, as in CoNLL-2012, unless columns are counted from the end.
    """

    def __init__(self, name: str, column: str) -> None:
        self._name, self._column = name, column
        self._separator: str | None = None
        self._width = 0
        self._last_values: set[str] = set()
        self._index = int(column) if re.fullmatch("-?[0-9]+", column) else None
        self._is_first = True

    def end_sentence(self) -> None:
        """Allow another number of columns."""
        if self._index is not None and self._index >= 0:
            self._width = 0

    def value(self, line: str, number: int) -> str | None:
        """Return the value of the column in a line; None if the line is not a token."""
        location, line = f"{self._name}, line {number}", line.removeprefix(BYTE_ORDER_MARK)  # of a file that was joined
        if line.startswith(DOCUMENT_START) or _COMMENT.fullmatch(line):
            return None
        # A comment can have as many words as there are columns; a token has the label of another one.
        if line.startswith(_COMMENT_STARTS) and (self._is_first or self._split(line)[-1] not in self._last_values):
            return None
        is_header = self._is_first and self._learn(line, location)
        fields = self._split(line)
        self._width = self._width or len(fields)
        if len(fields) != self._width and not line.startswith("#"):
            separator = "tabs" if self._separator else "spaces"
            raise ValueError(
                f"{location}: has {len(fields)} columns, separated by {separator}, but the first token has "
                f"{self._width}."
            )
        if is_header or len(fields) != self._width:
            return None
        self._last_values.add(fields[-1])
        assert self._index is not None
        if not -self._width <= self._index < self._width:
            raise ValueError(f"{location}: has {self._width} columns, so there is no column {self._column}.")
        value = "_".join(fields[self._index].split())
        if not value:
            raise ValueError(f"{location}: column {self._column} is empty: write `_` for an unknown value.")
        return value

    def _learn(self, line: str, location: str) -> bool:
        """Set the separator and the index by the first line; return whether it is a header."""
        self._is_first, self._separator = False, "\t" if "\t" in line else None
        fields = self._split(line)
        if self._index is None:
            if self._column not in fields:
                raise ValueError(
                    f"{location}: has no column {self._column!r}, only {', '.join(fields)}: use a number from 0, or -1 "
                    "for the last column, if this line is not a header."
                )
            self._index = fields.index(self._column)
            return True
        if looks_like_header(fields):
            raise ValueError(
                f"{location}: is a header ({', '.join(fields)}): give the name of the column instead of its number."
            )
        return False

    def _split(self, line: str) -> list[str]:
        return line.split("\t") if self._separator else [field for field in line.split(" ") if field]


def looks_like_header(row: Sequence[str]) -> bool:
    """Return whether a row names columns of text or tokens, and of labels."""
    return row[0].strip().lower() in TEXT_HEADERS and row[-1].strip().lower() in LABEL_HEADERS


def first_gap_between_tokens(rows: Iterable[Sequence[str]]) -> int | None:
    """Return the index of the first empty row, if the rows are tokens with empty rows between sentences; else None.

    Such rows have one word in each column, and between two empty rows there are as many as in usual sentences.
    """
    gaps, last, tokens = [], 0, 0
    for index, row in enumerate(islice(rows, MAX_CHECKED_ROWS)):
        counts = {len(cell.split()) for cell in row}
        if counts == {0}:
            gaps.append(index)
        elif counts == {1}:
            last, tokens = index, tokens + 1
        else:
            return None
    inner = [gap for gap in gaps if gap < last]
    return inner[0] if inner and 2 * len(inner) <= tokens <= MAX_SENTENCE_TOKENS * len(inner) else None
