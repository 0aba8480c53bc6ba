"""A text to score: its lines, and how many bytes it had before anything was changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import in_batches
from seqlab.data.column import Column, join_lines, split_lines
from seqlab.data.readers import LinePart, decode_lines
from seqlab.inference.lines import refuse_newlines

BLOCK_LINES = 10_000
BLOCK_CHARS = 1 << 22
"""Characters of a block after which no further line joins it."""


@dataclass(frozen=True)
class Text:
    """Lines without their ends, all of a text or some of it, and the size of the original."""

    lines: Sequence[str]
    num_bytes: int
    """Of the original, ends of line counted where it has them."""
    num_newlines: int
    num_lines: int
    """Of the original: a record that is one of `lines` may have several."""

    def dropped_bytes(self, normalize: Callable[[str], str]) -> int:
        """Count the bytes that reading leaves out, or that a line is shorter by when it is normalised."""
        sizes = [(_size(line), _size(_normalized(line, normalize))) for line in self.lines]
        unread = self.num_bytes - self.num_newlines - sum(original for original, _ in sizes)
        return unread + sum(max(0, original - normalised) for original, normalised in sizes)

    @classmethod
    def of(cls, lines: Sequence[str]) -> Text:
        """Take lines that each end with a newline; raises ValueError where one holds a newline."""
        refuse_newlines(lines, "lines")
        return cls(lines, sum(_size(line) + 1 for line in lines), len(lines), len(lines))

    @classmethod
    def blocks(cls, stream: BinaryIO, name: str) -> Iterator[Text]:
        """Read a binary stream, some lines at a time; a line of more than 1 MiB comes in parts.

        Raises:
            ValueError: it is empty, or as in `decode_lines`.
        """
        sizes: deque[tuple[int, bool]] = deque()

        def noted() -> Iterator[bytes]:
            for raw in LineLimit(splits_lines=True).read(stream, name):
                sizes.append((len(raw), raw.endswith(b"\n")))
                yield raw

        is_empty = True
        for block in in_batches(decode_lines(noted(), name), BLOCK_LINES, weight=len, most=BLOCK_CHARS):
            num_bytes, num_newlines = map(sum, zip(*(sizes.popleft() for _ in block), strict=True))
            is_empty = False
            yield cls(block, num_bytes, num_newlines, sum(not isinstance(line, LinePart) for line in block))
        if is_empty:
            raise ValueError(f"{name} is empty: it holds no line to score.")

    @classmethod
    def of_records(cls, column: Column, *, split_records: bool) -> Iterator[Text]:
        """Take the records of a table or a dataset, as training reads them, some at a time.

        One that has newlines is several lines with `split_records`, which is how a continuous text is read; else it is
        a single line, with spaces in their place.

        Raises:
            ValueError: there is none, or as in `Column.cells`.
        """
        is_empty = True
        for cells in in_batches(column.cells(), BLOCK_LINES, weight=len, most=BLOCK_CHARS):
            lines: list[str] = []
            num_bytes = num_lines = 0
            for cell in cells:
                own = split_lines(cell)
                num_bytes, num_lines = num_bytes + _size(cell.removesuffix("\n")) + 1, num_lines + len(own)
                lines += own if split_records else [join_lines(cell)]
            is_empty = False
            yield cls(lines, num_bytes, len(lines), num_lines)
        if is_empty:
            raise ValueError(f"{column} is empty: it holds no line to score.")


def _normalized(line: str, normalize: Callable[[str], str]) -> str:
    """Normalise a line; the space after a part of one is between words."""
    found = normalize(line)
    return f"{found} " if isinstance(line, LinePart) and line.endswith(" ") and not found.endswith(" ") else found


def _size(line: str) -> int:
    return len(line.encode("utf-8", "surrogatepass"))
