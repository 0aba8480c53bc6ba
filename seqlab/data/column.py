"""Columns: the source or target side of a corpus as a sequence of text records, from a file or dataset."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

from seqlab.data.blocks import RawBlock, in_batches
from seqlab.data.readers import refuse_recording_path

T = TypeVar("T")
Stamp = tuple[int, int, int]
"""Size in bytes, mtime and ctime in nanoseconds. Files with equal stamps are assumed to have equal content.

Programs cannot set the ctime: it changes even if a file is replaced by one of the same size and mtime.
"""


ADVICE: list[tuple[type | tuple[type, ...], str]] = [
    (Mapping, "name one of its values, such as `COLUMN.KEY`, write null for an empty one, or leave the column out"),
    (tuple, "write each value of a map in a column of its own, or leave the column out"),
    (bytes, "write it as text, or leave the column out"),
    (list, "write a list of words, or one text, or leave the column out"),
]
"""What to do about values that are no text, by their type."""


class NumberCell(str):
    """Text of a cell that is a number in its file, as in JSON or parquet: its format is that of programs."""


class NumberListCell(str):
    """Text of a cell that is a list of several numbers in its file."""


class Column(ABC):
    """One side of a corpus: text records that can be read repeatedly."""

    column: str | None
    """Name of the column in each record; None for plain text."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Name of the source in messages, such as the path of a file; columns of one source are hashed together."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Name of the source, independent of the working directory."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Format of the source, such as `text` or `tsv`."""

    @abstractmethod
    def stamp(self) -> Stamp:
        """Return the stamp of the source; raises FileNotFoundError or ValueError if it does not exist."""

    @abstractmethod
    def sha256(self) -> str:
        """Return the SHA-256 of the source; errors as in `stamp`."""

    @abstractmethod
    def num_bytes(self) -> int:
        """Estimate the size of the source in bytes."""

    @abstractmethod
    def cells(self) -> Iterator[str]:
        """Yield the text of each record, including newlines; "" for an empty record.

        Raises:
            FileNotFoundError, ValueError: the source cannot be read; the message has its name and, if known, the line
                or record.
        """

    def values(self) -> Iterator[str]:
        """Yield the records in order as single lines.

        A newline at the end of a record is removed; one inside it becomes a space. Raises errors as `cells` does.
        """
        lines = map(join_lines, self.cells())
        first = next(lines, None)
        if first is None:
            return iter(())
        refuse_recording_path(first, str(self))
        return chain([first], lines)

    def blocks(self, size: int, *, split_records: bool = False) -> Iterator[RawBlock | list[str]]:
        """Yield the values in blocks of `size` (the last block may be smaller); raises errors as `cells` does.

        With `split_records`, a record of several lines becomes several values.
        """
        if split_records:
            return in_batches(chain.from_iterable(map(split_lines, self.cells())), size)
        return in_batches(self.values(), size)

    def line_numbers(self, start: int, count: int) -> Sequence[int]:
        """Return the line or record numbers, from 1, of `count` values starting at index `start`."""
        first = start + 1 + self.has_header
        return range(first, first + count)

    @property
    def has_header(self) -> bool:
        """Whether the first line holds the names of the columns."""
        return False

    @property
    def is_stream(self) -> bool:
        """Whether the source can be read only once, such as a pipe."""
        return False


def line_locations(file: str, numbers: Iterable[int]) -> list[str]:
    """Return the locations of lines of a file, as `file, line N`."""
    return [f"{file}, line {number}" for number in numbers]


def row_location(columns: Sequence[str], lines: Sequence[int]) -> str:
    """Return the location of a row in all of its files; if the line number is the same in all, it is given once."""
    if len(set(lines)) == 1:
        return f"{' and '.join(columns)}, line {lines[0]}"
    return ", and ".join(f"{column}, line {line}" for column, line in zip(columns, lines, strict=True))


def refuse_unequal_lengths(names: Sequence[str], counts: Sequence[int]) -> None:
    """Raise ValueError, with both counts, if a file does not have as many lines as the first."""
    for name, count in zip(names, counts, strict=True):
        if count != counts[0]:
            raise ValueError(
                f"{names[0]} has {counts[0]:,} lines but {name} has {count:,}: line i of one belongs to line i of the "
                "other, so both must have the same number of lines."
            )


def zip_equal(names: Sequence[str], columns: Sequence[Iterator[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of columns, each as soon as it is read; raises ValueError as `refuse_unequal_lengths` does."""
    rows = zip_longest(*columns)
    for index, row in enumerate(rows):
        if None in row:
            counts = [index + (line is not None) for line in row]
            for lines in rows:
                counts = [count + (line is not None) for count, line in zip(counts, lines, strict=True)]
            refuse_unequal_lengths(names, counts)
        yield row


def value_as_text(record: Any, column: str, location: str) -> str:
    """Return the value of a key, or of a dotted path of keys, as text; numbers and booleans are formatted as JSON.

    The items of a list, such as words or labels, are joined by spaces.
    """
    return text_of_value(value_at(record, column, location), column, location)


def value_at(record: Any, column: str, location: str) -> Any:
    """Return the value of a key, or of a dotted path of keys such as `a.b`.

    Raises:
        ValueError: there is no such value, or both a key and a path have this name; the message has the location.
    """
    values = list(_values_at(record, column)) if isinstance(record, Mapping) else []
    if len(values) == 1:
        return values[0]
    if values:
        raise ValueError(f"{location}: has several values {column!r}, as a key and in a nested object: rename one.")
    value = record
    for key in column.split("."):
        if not isinstance(value, Mapping) or key not in value:
            actual = f"only {', '.join(map(str, value))}" if isinstance(value, Mapping) else f"a {type(value).__name__}"
            raise ValueError(f"{location}: has no {column!r}: instead of {key!r} there is {actual}.")
        value = value[key]
    raise AssertionError("the path has a value")


def _values_at(record: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yield the values whose keys, joined by dots, are a path."""
    if path in record:
        yield record[path]
    for dot in (index for index, character in enumerate(path) if character == "."):
        if isinstance(nested := record.get(path[:dot]), Mapping):
            yield from _values_at(nested, path[dot + 1 :])


def text_of_value(value: object, name: str, location: str) -> str:
    """Return a value of JSON or parquet as text: "" for null, numbers and booleans as in JSON, dates as in ISO 8601.

    The items of a list, such as words or labels, are joined by spaces.

    Raises:
        ValueError: the value is an object, bytes, NaN or infinite, or an item of a list is not one word; the message
            has `name`.
    """
    if value is None:
        return ""
    if not isinstance(value, list):
        return _scalar_as_text(value, name, location)
    words = [_scalar_as_text(word, f"{name}[{index}]", location) for index, word in enumerate(value)]
    for index, word in enumerate(words):
        if word.split() != [word]:
            raise ValueError(f"{location}: '{name}[{index}]' must be a word without spaces, but is {word!r}.")
    return " ".join(words)


def _scalar_as_text(value: object, name: str, location: str) -> str:
    """Return a string, number, boolean or date as text; `name` is for messages."""
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"{location}: {name!r} must be text, but is {value}: write null for a missing text.")
        return json.dumps(value)
    if value is None or isinstance(value, Mapping | bytes | list | tuple):
        advice = next((hint for kinds, hint in ADVICE if isinstance(value, kinds)), "leave it out")
        raise ValueError(f"{location}: {name!r} must be text, but is a {type(value).__name__}: {advice}.")
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{location}: {name!r} contains an unpaired surrogate, which is not a character.") from None
    return text


def split_lines(cell: str) -> list[str]:
    """Split at newlines as in a file: a newline at the end does not start another line."""
    if "\n" not in cell:
        return [cell]
    return [line.removesuffix("\r") for line in cell.removesuffix("\n").split("\n")]


def join_lines(cell: str) -> str:
    """Join the lines of a record by spaces."""
    return cell if "\n" not in cell else " ".join(split_lines(cell))
