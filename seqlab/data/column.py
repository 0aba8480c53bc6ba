"""What every side of a corpus has in common, wherever it is read from."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

from seqlab.data.blocks import RawBlock, in_batches
from seqlab.data.readers import refuse_recording_path

T = TypeVar("T")
Stamp = tuple[int, int, int]
"""Size in bytes, and the times of the last change of the content and of the file's entry, in nanoseconds.

While all stay, the content is taken to stay too. The last is set by the system alone: a file that another of the same
size and time has replaced does not keep it.
"""


class Column(ABC):
    """One side of a corpus: records of text, which can be read again."""

    column: str | None
    """Which part of each record it is, None where records have no parts."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Return the name of what is hashed as a whole, for messages: of a file its path."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Return the name of the same that does not depend on where a process runs."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Return how the source is read."""

    @abstractmethod
    def stamp(self) -> Stamp:
        """Return what changes when the source does; raises FileNotFoundError or ValueError where there is none."""

    @abstractmethod
    def sha256(self) -> str:
        """Return the SHA-256 of the source; errors as in `stamp`."""

    @abstractmethod
    def num_bytes(self) -> int:
        """Estimate how much there is to read."""

    @abstractmethod
    def cells(self) -> Iterator[str]:
        """Yield what each record holds, newlines and all; "" where it holds nothing.

        Raises:
            FileNotFoundError, ValueError: naming the source and, where there is one, the line or the record.
        """

    def values(self) -> Iterator[str]:
        """Yield the records in their order, one string without a newline each.

        A newline that ends a record is left out, and one inside it becomes a space. Errors as in `cells`.
        """
        lines = map(join_lines, self.cells())
        first = next(lines, None)
        if first is None:
            return iter(())
        refuse_recording_path(first, str(self))
        return chain([first], lines)

    def blocks(self, size: int, *, split_records: bool = False) -> Iterator[RawBlock | list[str]]:
        """Yield the values, `size` at a time (the last may be fewer); errors as in `cells`.

        With `split_records` a record of several lines is not one value but several.
        """
        if split_records:
            return in_batches(chain.from_iterable(map(split_lines, self.cells())), size)
        return in_batches(self.values(), size)

    def line_numbers(self, start: int, count: int) -> Sequence[int]:
        """Return where `count` values from the one of index `start` on begin, from 1: their lines or records."""
        first = start + 1 + self.has_header
        return range(first, first + count)

    @property
    def has_header(self) -> bool:
        """Tell whether a line with the columns' names stands before the values."""
        return False

    @property
    def is_stream(self) -> bool:
        """Tell whether it can be read only once, as a pipe."""
        return False


def line_locations(file: str, numbers: Iterable[int]) -> list[str]:
    """Say where lines of a file stand."""
    return [f"{file}, line {number}" for number in numbers]


def row_location(columns: Sequence[str], lines: Sequence[int]) -> str:
    """Name the files of a row and where it is in each; the number is said once where all have the same."""
    if len(set(lines)) == 1:
        return f"{' and '.join(columns)}, line {lines[0]}"
    return ", and ".join(f"{column}, line {line}" for column, line in zip(columns, lines, strict=True))


def refuse_unequal_lengths(names: Sequence[str], counts: Sequence[int]) -> None:
    """Raise ValueError, naming both counts, where a file has not as many lines as the first."""
    for name, count in zip(names, counts, strict=True):
        if count != counts[0]:
            raise ValueError(
                f"{names[0]} has {counts[0]:,} lines but {name} has {count:,}: line i of one belongs to line i of the "
                "other, so both must have the same number of lines."
            )


def zip_equal(names: Sequence[str], columns: Sequence[Iterator[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of columns, each as it is read; raises ValueError as `refuse_unequal_lengths` does."""
    rows = zip_longest(*columns)
    for index, row in enumerate(rows):
        if None in row:
            counts = [index + (line is not None) for line in row]
            for others in rows:
                counts = [count + (line is not None) for count, line in zip(counts, others, strict=True)]
            refuse_unequal_lengths(names, counts)
        yield row


def value_as_text(record: Any, column: str, where: str) -> str:
    """Return the text under a key, or under a dotted path of keys; of numbers and truth values, JSON's.

    A list is a line of words, or of the labels of words, with spaces between.
    """
    value = record
    keys = [column] if isinstance(record, Mapping) and column in record else column.split(".")
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            has = f"only {', '.join(map(str, value))}" if isinstance(value, Mapping) else f"a {type(value).__name__}"
            raise ValueError(f"{where}: has no {column!r}: where {key!r} should be there is {has}.")
        value = value[key]
    if value is None:
        return ""
    if not isinstance(value, list):
        return _scalar_as_text(value, column, where)
    words = [_scalar_as_text(word, f"{column}[{place}]", where) for place, word in enumerate(value)]
    for place, word in enumerate(words):
        if word.split() != [word]:
            raise ValueError(f"{where}: '{column}[{place}]' must be a word without spaces, but is {word!r}.")
    return " ".join(words)


def _scalar_as_text(value: object, name: str, where: str) -> str:
    """Return a value as text, that of `name`."""
    if isinstance(value, int | float):
        return json.dumps(value)
    if not isinstance(value, str):
        raise ValueError(f"{where}: {name!r} must be text, but is a {type(value).__name__}.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{where}: {name!r} contains an unpaired surrogate, which is not a character.") from None
    return value


def split_lines(cell: str) -> list[str]:
    """Cut at newlines as a file is cut: one at the end begins no line of its own."""
    if "\n" not in cell:
        return [cell]
    return [line.removesuffix("\r") for line in cell.removesuffix("\n").split("\n")]


def join_lines(cell: str) -> str:
    """Join the lines of a record by spaces; return a single line unchanged."""
    first, *more = split_lines(cell)
    return " ".join([first, *more]) if more else first
