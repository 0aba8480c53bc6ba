"""A text to score: its lines, and how many bytes it had before anything was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from seqlab.data.column import Column, lines_of, one_line
from seqlab.data.readers import decoded
from seqlab.inference.lines import refuse_newlines


@dataclass(frozen=True)
class Text:
    """Lines without their ends, and the size of the original."""

    lines: Sequence[str]
    num_bytes: int
    """Of the original, ends of line counted where it has them."""
    num_newlines: int
    num_lines: int
    """Of the original: a record that is one of `lines` may have several."""

    def dropped_bytes(self, normalize: Callable[[str], str]) -> int:
        """Count the bytes that reading leaves out, or that a line is shorter by when it is normalised."""
        sizes = [(_size(line), _size(normalize(line))) for line in self.lines]
        unread = self.num_bytes - self.num_newlines - sum(original for original, _ in sizes)
        return unread + sum(max(0, original - normalised) for original, normalised in sizes)

    @classmethod
    def of(cls, lines: Sequence[str]) -> Text:
        """Take lines that each end with a newline; raises ValueError where one holds a newline."""
        refuse_newlines(lines, "lines")
        return cls(lines, sum(_size(line) + 1 for line in lines), len(lines), len(lines))

    @classmethod
    def read(cls, stream: Iterable[bytes], name: str) -> Text:
        """Read a binary stream to its end.

        Raises:
            ValueError: it is empty, or as in `decoded`.
        """
        num_bytes = num_newlines = 0

        def counted() -> Iterator[bytes]:
            nonlocal num_bytes, num_newlines
            for raw in stream:
                num_bytes += len(raw)
                num_newlines += raw.endswith(b"\n")
                yield raw

        lines = list(decoded(counted(), name))
        _refuse_empty(lines, name)
        return cls(lines, num_bytes, num_newlines, len(lines))

    @classmethod
    def of_records(cls, column: Column, *, split_records: bool) -> Text:
        """Take the records of a table or a dataset, as training reads them.

        One that has newlines is several lines with `split_records`, which is how a continuous text is read; else it is
        a single line, with spaces in their place.

        Raises:
            ValueError: there is none, or as in `Column.cells`.
        """
        lines: list[str] = []
        num_bytes = num_lines = 0
        for cell in column.cells():
            own = lines_of(cell)
            num_bytes, num_lines = num_bytes + _size(cell.removesuffix("\n")) + 1, num_lines + len(own)
            lines += own if split_records else [one_line(cell)]
        _refuse_empty(lines, str(column))
        return cls(lines, num_bytes, len(lines), num_lines)


def _refuse_empty(lines: Sequence[str], name: str) -> None:
    if not lines:
        raise ValueError(f"{name} is empty: it holds no line to score.")


def _size(line: str) -> int:
    return len(line.encode("utf-8", "surrogatepass"))
