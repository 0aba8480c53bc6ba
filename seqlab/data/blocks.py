"""Blocks of raw lines: read by the main process, decoded by worker processes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from seqlab.base.raw_lines import LineLimit, PartialLine
from seqlab.data.file_types import open_decompressed
from seqlab.data.readers import (
    BYTE_ORDER_MARK,
    LinePart,
    check_first_lines,
    convert_unpacking_errors,
    decode_line,
    require_file,
)

T = TypeVar("T")
BLOCK_BYTES = 1 << 24
"""Number of bytes at which a block of a continuous text ends."""


@dataclass(frozen=True)
class RawBlock:
    """Consecutive lines of a text file, not decoded yet."""

    raw: bytes
    count: int
    name: str  # of the file
    first: int  # number of the first line, from 1
    end_fraction: float  # share of the file, in bytes on disk, that ends with the block
    parts: frozenset[int] = frozenset()  # indices of lines that are parts of a longer line, continued in the next one

    def __len__(self) -> int:
        return self.count

    def decode(self) -> list[str]:
        """Decode the lines as `readers.iter_lines` does; raises ValueError for the first line that is not UTF-8."""
        try:
            text = self.raw.decode("utf-8")
        except UnicodeDecodeError:
            numbered = enumerate(io.BytesIO(self.raw), start=self.first)
            return [decode_line(raw, self.name, number) for number, raw in numbered]  # raises ValueError
        lines = text.removesuffix("\n").split("\n")
        if "\r" in text:
            lines = [line.removesuffix("\r") for line in lines]
        if self.first == 1:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        for index in self.parts:
            lines[index] = LinePart(lines[index])
        return lines


def read_blocks(path: Path, size: int, limit: LineLimit) -> Iterator[RawBlock]:
    """Yield the lines of a file, `size` at a time (the last block may be smaller); compressed files are unpacked.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, a line is too long, or the compressed file is incomplete.
    """
    assert limit.discarded is None, "blocks cannot discard lines"
    require_file(path)
    with path.open("rb") as file:
        total, first = max(1, path.stat().st_size), 1
        with convert_unpacking_errors(str(path)):
            stream: BinaryIO = file
            if (unpacked := open_decompressed(file, path)) is not None:  # buffered: reading lines is slow otherwise
                stream = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, unpacked), 1 << 20))
            # Only for a continuous text: for pairs, the blocks of source and target must have equally many lines.
            max_bytes = BLOCK_BYTES if limit.splits_lines else None
            for lines in in_batches(limit.read(stream, str(path)), size, weight=len, max_weight=max_bytes):
                if first == 1:
                    check_first_lines(lines, str(path))
                parts = frozenset(index for index, raw in enumerate(lines) if isinstance(raw, PartialLine))
                raw = b"".join([line + b"\n" if index in parts else line for index, line in enumerate(lines)])
                yield RawBlock(raw, len(lines), str(path), first, file.tell() / total, parts)
                first += len(lines)


def in_batches(
    items: Iterable[T], size: int, *, weight: Callable[[T], int] = lambda item: 0, max_weight: int | None = None
) -> Iterator[list[T]]:
    """Yield lists of `size` items (the last may be shorter); a list ends early if its weight reaches `max_weight`."""
    if max_weight is None:
        iterator = iter(items)
        while batch := list(islice(iterator, size)):
            yield batch
        return
    batch, total_weight = [], 0
    for item in items:
        batch.append(item)
        total_weight += weight(item)
        if len(batch) == size or total_weight >= max_weight:
            yield batch
            batch, total_weight = [], 0
    if batch:
        yield batch
