"""Reading of files with one token a line and empty lines between sentences, as in the CoNLL-2003 shared task.

The columns of a line are separated by a tab if the file has tabs, else by spaces. They are named by their number, from
0 (or from the end, as -1), or by the names in a header line. Lines with `-DOCSTART-` and comments (`# id = 1`) are not
tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice, takewhile
from typing import NamedTuple

from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.readers import BYTE_ORDER_MARK, Lines

TOKEN_SUFFIXES = (".conll", ".iob", ".iob2", ".bio", ".bioes")
"""Suffixes of files with one token a line."""
DOCUMENT_START = "-DOCSTART-"
_COMMENT = re.compile(r"#\s*[\w.]+\s*=.*|#\s*(newdoc|newpar)\b.*|#(begin|end) document.*")
_COMMENT_STARTS = ("# ", "#\t")
TEXT_HEADERS = {"token", "tokens", "word", "words", "form", "text", "sentence", "sentences", "review", "comment"}
LABEL_HEADERS = {
    *("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "upos", "bio", "iob", "entity"),
    *("class", "category", "sentiment", "target", "y", "topic", "type"),
}
"""Usual names of columns, in lower case."""
MAX_CHECKED_ROWS = 1000
"""Maximum number of rows to check for labels, or for tokens that should be read as sentences."""
MAX_SENTENCE_TOKENS = 100
"""Maximum mean number of tokens of sentences."""


class TokenSentence(NamedTuple):
    """The values of one column of a sentence."""

    first_line: int
    """Line number of the first token, from 1."""
    values: list[str]


def read_token_sentences(
    lines: Iterable[str], name: str, column: str, notes: ReadingNotes | None = None
) -> Iterator[TokenSentence]:
    """Yield one column of each sentence; spaces within a value become `_`.

    Args:
        lines: the lines of a file.
        name: name of the file, for messages.
        column: number of the column, negative from the end, or its name in the header.
        notes: receives counts of the lines that are left out because they are not tokens.

    Raises:
        ValueError: a line has too few or too many columns, the column does not exist, or its value is empty; the
            message has the file and the line.
    """
    numbered, first = Lines(lines), 0
    reader = _Reader(numbered, name, column, ReadingNotes() if notes is None else notes)
    values: list[str] = []
    for line in numbered:
        if line.strip():
            value = reader.value(line, is_start=not values)
            if value is not None:
                first = first if values else numbered.number
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

    def __init__(self, lines: Lines, name: str, column: str, notes: ReadingNotes) -> None:
        self._lines, self._name, self._column, self._notes = lines, name, column, notes
        self._width = self._last_width = 0
        self._index = int(column) if re.fullmatch("-?[0-9]+", column) else None
        self._is_first = True
        first_lines = [line for line in map(lines.peek, range(MAX_CHECKED_ROWS)) if line and line.strip()]
        tokens = [line for line in first_lines if not line.startswith(("#", DOCUMENT_START))]
        self._separator = "\t" if any("\t" in line for line in (tokens or first_lines)[:1]) else None
        self._last_values = {self._split(line)[-1] for line in tokens}

    def end_sentence(self) -> None:
        """Allow another number of columns."""
        if self._index is not None and self._index >= 0:
            self._width = 0

    def value(self, line: str, *, is_start: bool) -> str | None:
        """Return the value of the column in a line; None if the line is not a token.

        `is_start` is whether no token of the sentence was read yet.
        """
        location, line = (
            f"{self._name}, line {self._lines.number}",
            line.removeprefix(BYTE_ORDER_MARK),
        )  # of joined files
        if line.startswith(DOCUMENT_START) or (line.startswith("#") and self._is_comment(line, is_start=is_start)):
            kind = "comments" if line.startswith("#") else f"`{DOCUMENT_START}`"
            self._notes.add(f"lines with {kind} were left out", location)
            return None
        is_header = self._is_first and self._learn(line, location)
        fields = self._split(line)
        self._width = self._last_width = self._width or len(fields)
        if len(fields) != self._width:
            separator = "tabs" if self._separator else "spaces"
            raise ValueError(
                f"{location}: has {len(fields)} columns, separated by {separator}, but the first token has "
                f"{self._width}."
            )
        if is_header:
            return None
        self._last_values.add(fields[-1])
        assert self._index is not None
        if not -self._width <= self._index < self._width:
            raise ValueError(f"{location}: has {self._width} columns, so there is no column {self._column}.")
        value = "_".join(fields[self._index].split())
        if not value:
            raise ValueError(f"{location}: column {self._column} is empty: write `_` for an unknown value.")
        return value

    def _is_comment(self, line: str, *, is_start: bool) -> bool:
        """Return whether a line that starts with `#` is a comment rather than a token.

        A comment has another number of columns than tokens. It may have as many only before the first token of a
        sentence: there, a token has the label of another one, or the tag `#` of the Penn Treebank.
        """
        is_usual = _COMMENT.fullmatch(line) is not None
        if not is_usual and not line.startswith(_COMMENT_STARTS) and line.strip() != "#":
            return False
        fields, width = self._split(line), self._next_width() if is_start else self._width
        if len(fields) != width:
            return True
        return is_start and (is_usual or (fields[-1] != "#" and fields[-1] not in self._last_values))

    def _next_width(self) -> int:
        """Return the number of columns of the next token of the sentence; if it has none, that of the last one."""
        ahead = takewhile(lambda line: line is not None and line.strip(), map(self._lines.peek, count()))
        token = next((line for line in ahead if line and not line.startswith(("#", DOCUMENT_START))), None)
        return self._last_width if token is None else len(self._split(token))

    def _learn(self, line: str, location: str) -> bool:
        """Set the index by the first line; return whether it is a header."""
        self._is_first = False
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
