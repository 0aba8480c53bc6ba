"""Lines of text in blocks: read by one process, decoded by whichever works on them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from seqlab.data.readers import BYTE_ORDER_MARK, LineLimit, decode_line, refuse_audio, require_file, unpacking


@dataclass(frozen=True)
class RawLines:
    """Some lines of a text file as they are in it."""

    raw: bytes
    count: int
    name: str  # of the file
    first: int  # the number of the first line, from 1
    share: float  # of the file, as it lies on the disk, that ends here

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
        return lines


def read_blocks(path: Path, size: int, limit: LineLimit) -> Iterator[RawLines]:
    """Yield the lines of a file, unpacked when its name ends in .gz, `size` at a time; the last may be fewer.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, has a line that is too long, or is not a complete gzip file.
    """
    require_file(path)
    with path.open("rb") as file:
        stream: BinaryIO = file
        if path.suffix == ".gz":  # buffered, as reading lines is slow otherwise
            stream = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=file)), 1 << 20))
        total, first = max(1, path.stat().st_size), 1
        with unpacking(str(path)):
            raw_lines = limit.read(stream, str(path))
            while lines := list(islice(raw_lines, size)):
                if first == 1:
                    refuse_audio(lines, str(path))
                yield RawLines(b"".join(lines), len(lines), str(path), first, file.tell() / total)
                first += len(lines)
