"""Blocks of a text to score: lines, and the number of bytes of the original text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from seqlab.base.malloc import release_between
from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import in_batches
from seqlab.data.column import Column, join_lines, split_lines
from seqlab.data.readers import LinePart, decode_lines
from seqlab.inference.lines import refuse_newlines

BLOCK_LINES = 10_000
BLOCK_CHARS = 1 << 22
"""Characters after which a block is complete."""


@dataclass(frozen=True)
class Text:
    """Lines of a text or of a part of it, without line ends, and the size of the original text."""

    lines: Sequence[str]
    num_bytes: int
    """Bytes of the original, including its line ends."""
    num_newlines: int
    """Line ends of the original."""
    num_lines: int
    """Lines of the original; a record that is one entry of `lines` may have several."""

    def dropped_bytes(self, normalize: Callable[[str], str]) -> int:
        """Count the bytes of the original that are dropped by reading and by normalization."""
        sizes = [(_size(line), _size(_normalized(line, normalize))) for line in self.lines]
        unread = self.num_bytes - self.num_newlines - sum(original for original, _ in sizes)
        return unread + sum(max(0, original - plain) for original, plain in sizes)

    @classmethod
    def of(cls, lines: Sequence[str]) -> Text:
        """Make a block of lines, counting a line end for each; raise ValueError if a line contains a newline."""
        refuse_newlines(lines, "lines")
        return cls(lines, sum(_size(line) + 1 for line in lines), len(lines), len(lines))

    @classmethod
    def blocks(cls, stream: BinaryIO, name: str) -> Iterator[Text]:
        """Read a binary stream in blocks of lines; a line of more than 1 MiB is read in parts.

        Raises:
            ValueError: the stream is empty, or `decode_lines` raises it.
        """
        sizes: deque[tuple[int, bool]] = deque()

        def read_and_append_sizes() -> Iterator[bytes]:
            for raw in LineLimit(splits_lines=True).read(stream, name):
                sizes.append((len(raw), raw.endswith(b"\n")))
                yield raw

        is_empty = True
        lines = decode_lines(read_and_append_sizes(), name)
        for block in release_between(in_batches(lines, BLOCK_LINES, weight=len, max_weight=BLOCK_CHARS)):
            num_bytes, num_newlines = map(sum, zip(*(sizes.popleft() for _ in block), strict=True))
            is_empty = False
            yield cls(block, num_bytes, num_newlines, sum(not isinstance(line, LinePart) for line in block))
        if is_empty:
            raise ValueError(f"{name} is empty: it has no line to score.")

    @classmethod
    def of_records(cls, column: Column, *, split_records: bool) -> Iterator[Text]:
        """Read the records of a table or a dataset in blocks, as training does.

        With `split_records`, as for a continuous text, a record with newlines becomes several lines. Otherwise it is
        one line, with spaces instead of newlines.

        Raises:
            ValueError: there is no record, or `Column.cells` raises it.
        """
        is_empty = True
        blocks = in_batches(column.cells(), BLOCK_LINES, weight=len, max_weight=BLOCK_CHARS)
        for cells in release_between(blocks):
            lines: list[str] = []
            num_bytes = num_lines = 0
            for cell in cells:
                cell_lines = split_lines(cell)
                num_bytes, num_lines = num_bytes + _size(cell.removesuffix("\n")) + 1, num_lines + len(cell_lines)
                lines += cell_lines if split_records else [join_lines(cell)]
            is_empty = False
            yield cls(lines, num_bytes, len(lines), num_lines)
        if is_empty:
            raise ValueError(f"{column} is empty: it has no line to score.")


def _normalized(line: str, normalize: Callable[[str], str]) -> str:
    """Normalize a line; a part of a line keeps its final space, which separates words."""
    plain = normalize(line)
    return f"{plain} " if isinstance(line, LinePart) and line.endswith(" ") and not plain.endswith(" ") else plain


def _size(line: str) -> int:
    """Return the number of bytes in UTF-8."""
    return len(line.encode("utf-8", "surrogatepass"))
