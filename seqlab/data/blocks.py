"""Lines of text in blocks: read by one process, decoded by whichever works on them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from seqlab.base.raw_lines import LineLimit, PartialLine
from seqlab.data.readers import (
    BYTE_ORDER_MARK,
    LinePart,
    check_first_lines,
    decode_line,
    naming_gzip_errors,
    require_file,
)

T = TypeVar("T")
BLOCK_BYTES = 1 << 24
"""Of a continuous text, after which no further line joins a block."""


@dataclass(frozen=True)
class RawBlock:
    """Some lines of a text file as they are in it."""

    raw: bytes
    count: int
    name: str  # of the file
    first: int  # the number of the first line, from 1
    share: float  # of the file, as it lies on the disk, that ends here
    parts: frozenset[int] = frozenset()  # which of them are parts of lines that go on

    def __len__(self) -> int:
        return self.count

    def decode(self) -> list[str]:
        """Return the lines as `readers.iter_lines` does; raises ValueError for the first that is not UTF-8."""
        try:
            text = self.raw.decode("utf-8")
        except UnicodeDecodeError:
            numbered = enumerate(io.BytesIO(self.raw), start=self.first)
            return [decode_line(raw, self.name, number) for number, raw in numbered]  # raises
        lines = text.removesuffix("\n").split("\n")
        if "\r" in text:
            lines = [line.removesuffix("\r") for line in lines]
        if self.first == 1:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        for index in self.parts:
            lines[index] = LinePart(lines[index])
        return lines


def read_blocks(path: Path, size: int, limit: LineLimit) -> Iterator[RawBlock]:
    """Yield the lines of a file, unpacked when its name ends in .gz, `size` at a time; the last may be fewer.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, has a line that is too long, or is not a complete gzip file.
    """
    assert limit.discarded is None, "a block has all of its lines"
    require_file(path)
    with path.open("rb") as file:
        stream: BinaryIO = file
        if path.suffix == ".gz":  # buffered, as reading lines is slow otherwise
            stream = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=file)), 1 << 20))
        total, first = max(1, path.stat().st_size), 1
        with naming_gzip_errors(str(path)):
            # Only a continuous text has blocks by size: those of both sides of pairs must have as many lines.
            most = BLOCK_BYTES if limit.splits_lines else None
            for lines in in_batches(limit.read(stream, str(path)), size, weight=len, most=most):
                if first == 1:
                    check_first_lines(lines, str(path))
                parts = frozenset(index for index, raw in enumerate(lines) if isinstance(raw, PartialLine))
                raw = b"".join([line + b"\n" if index in parts else line for index, line in enumerate(lines)])
                yield RawBlock(raw, len(lines), str(path), first, file.tell() / total, parts)
                first += len(lines)


def in_batches(
    items: Iterable[T], size: int, *, weight: Callable[[T], int] = lambda item: 0, most: int | None = None
) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last may be shorter, and one ends early once its items weigh `most` or more."""
    if most is None:
        iterator = iter(items)
        while batch := list(islice(iterator, size)):
            yield batch
        return
    batch, weighed = [], 0
    for item in items:
        batch.append(item)
        weighed += weight(item)
        if len(batch) == size or weighed >= most:
            yield batch
            batch, weighed = [], 0
    if batch:
        yield batch
