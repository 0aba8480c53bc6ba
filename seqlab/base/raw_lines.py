"""Reading lines as bytes with a size limit: longer lines raise an error, are discarded and recorded, or are split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import BinaryIO

MAX_LINE_BYTES = 1 << 20
"""Default limit of a line; processing a line can need a hundred times its size in memory."""
MAX_ROW_BYTES = 1 << 24
"""Limit of a row of a table (cells can be documents), and of a line of an ARPA file or of word vectors."""


class PartialLine(bytes):
    """A part of a long line that does not end in a newline."""


class DiscardedLines:
    """Locations of the lines that were discarded because they are too long."""

    def __init__(self) -> None:
        self.locations: list[tuple[str, int]] = []
        """File and line number, from 1, of each line."""

    def __len__(self) -> int:
        return len(self.locations)


@dataclass(frozen=True)
class LineLimit:
    """The maximum size of a line, and the treatment of longer lines."""

    max_bytes: int | None = MAX_LINE_BYTES
    """Maximum size without the line ending; None for no limit."""
    discarded: DiscardedLines | None = None
    """Record of the longer lines, which are replaced by empty lines; if None, they raise an error."""
    splits_lines: bool = False
    """Whether longer lines are split into parts instead, after a space if there is one."""
    option: str = "`--max_line_bytes`"
    """Name of the option that sets the limit, for messages."""
    advice: str = "Split the line, or raise the limit if memory allows."

    def read(self, stream: BinaryIO, name: str, first: int = 1) -> Iterator[bytes]:
        """Yield the lines of a stream with their endings; memory is bounded by the limit.

        Args:
            stream: binary stream.
            name: name of the stream in messages.
            first: number of the first line.

        Raises:
            ValueError: a line is too long, and is neither discarded nor split; the message has its location.
        """
        if self.max_bytes is None:
            yield from stream
            return
        if self.splits_lines:
            yield from _split_long_lines(stream, self.max_bytes)
            return
        size = self.max_bytes + len(b"\r\n")
        for number in count(first):
            raw = stream.readline(size)
            if not raw:
                return
            if len(raw) > self.max_bytes and len(raw.removesuffix(b"\n").removesuffix(b"\r")) > self.max_bytes:
                self._record(name, number)
                while raw and not raw.endswith(b"\n"):
                    raw = stream.readline(SKIP_BLOCK_BYTES)
                raw = DISCARDED
            yield raw

    def _record(self, name: str, number: int) -> None:
        """Record the location of a long line; raise ValueError if long lines are not discarded."""
        if self.discarded is None:
            raise ValueError(
                f"{name}, line {number}: is longer than {self.max_bytes:,} bytes ({self.option}). {self.advice}"
            )
        self.discarded.locations.append((name, number))


def _split_long_lines(stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    """Yield raw lines; a line of more than `max_bytes` bytes is yielded as several `PartialLine`s."""
    partial, is_open = b"", False
    while raw := partial + stream.readline(max_bytes - len(partial)):
        if raw.endswith(b"\n") or len(raw) < max_bytes:
            partial, is_open = b"", False
            yield raw
            continue
        end = raw.rfind(b" ") + 1
        if not end:  # split before the last character, which may be incomplete
            end = next((i for i in range(len(raw) - 1, 0, -1) if raw[i] & 0xC0 != 0x80), len(raw))
        partial, is_open = raw[end:], True
        yield PartialLine(raw[:end])
    if is_open:
        yield b"\n"


ROW_LIMIT = LineLimit(MAX_ROW_BYTES, option="the limit of such a file", advice="Split the line.")
DISCARDED = b"\0discarded\n"
"""Placeholder of a discarded line from `LineLimit.read`, which is compared by identity (`is`)."""
SKIP_BLOCK_BYTES = 1 << 20
"""Bytes that are read at a time while a line is discarded."""
