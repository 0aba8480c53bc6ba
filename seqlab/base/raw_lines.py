"""Raw lines of a stream under a limit: longer ones are refused, discarded and noted, or read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import BinaryIO

MAX_LINE_BYTES = 1 << 20
"""Default limit of a line: processing a line can take a hundred times its size in memory."""
MAX_ROW_BYTES = 1 << 24
"""Limit of a row of a table, whose cells may be whole documents, and of a line of an ARPA file or of word vectors."""


class RawPart(bytes):
    """A part of a long line; no end of a line follows it."""


class LongLines:
    """Lines that were too long and were discarded: how many, and which."""

    def __init__(self) -> None:
        self.locations: list[tuple[str, int]] = []
        """The file and the number of each, from 1."""

    def __len__(self) -> int:
        return len(self.locations)


@dataclass(frozen=True)
class LineLimit:
    """The longest line that is read, and what becomes of a longer one."""

    max_bytes: int | None = MAX_LINE_BYTES
    """Its end not counted; None for no limit."""
    discarded: LongLines | None = None
    """Collects longer lines, each of which becomes an empty line; with None they raise an error."""
    divides: bool = False
    """Whether a longer line is read in parts instead, which end after a space where there is one."""
    option: str = "`--max_line_bytes`"
    """What sets the limit, for messages."""
    advice: str = "Divide the line, or raise the limit if memory allows."

    def read(self, stream: BinaryIO, name: str, first: int = 1) -> Iterator[bytes]:
        """Yield raw lines of a stream, numbered from `first`; memory is bounded by the limit.

        Raises:
            ValueError: a line is too long, and is not to be discarded; names it.
        """
        if self.max_bytes is None:
            yield from stream
            return
        if self.divides:
            yield from _divided(stream, self.max_bytes)
            return
        size = self.max_bytes + len(b"\r\n")
        for number in count(first):
            raw = stream.readline(size)
            if not raw:
                return
            if len(raw) > self.max_bytes and len(raw.removesuffix(b"\n").removesuffix(b"\r")) > self.max_bytes:
                self._note(name, number)
                while raw and not raw.endswith(b"\n"):
                    raw = stream.readline(SKIPPED_BYTES)
                raw = DISCARDED
            yield raw

    def _note(self, name: str, number: int) -> None:
        if self.discarded is None:
            raise ValueError(
                f"{name}, line {number}: is longer than {self.max_bytes:,} bytes ({self.option}). {self.advice}"
            )
        self.discarded.locations.append((name, number))


def _divided(stream: BinaryIO, most: int) -> Iterator[bytes]:
    """Yield raw lines, those of more than `most` bytes in parts."""
    rest, is_open = b"", False
    while raw := rest + stream.readline(most - len(rest)):
        if raw.endswith(b"\n") or len(raw) < most:
            rest, is_open = b"", False
            yield raw
            continue
        end = raw.rfind(b" ") + 1
        if not end:  # before the last character, of which there may be some bytes only
            end = next((i for i in range(len(raw) - 1, 0, -1) if raw[i] & 0xC0 != 0x80), len(raw))
        rest, is_open = raw[end:], True
        yield RawPart(raw[:end])
    if is_open:
        yield b"\n"


ROW_LIMIT = LineLimit(MAX_ROW_BYTES, option="the limit of such a file", advice="Divide the line.")
DISCARDED = b"\0discarded\n"
"""What `LineLimit.read` yields for a line that it has not kept; it is compared by identity."""
SKIPPED_BYTES = 1 << 20
"""Read at once of a line that is not kept."""
