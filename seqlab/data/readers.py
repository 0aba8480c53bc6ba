"""Raw bytes -> lines: only a newline ends a line, whatever else Unicode calls a line separator."""

from __future__ import annotations

import csv
import gzip
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, BinaryIO, cast

from seqlab.audio.containers import AUDIO_SUFFIXES, HEAD_BYTES, looks_like_audio, may_begin_audio
from seqlab.named_files import naming
from seqlab.parsing import MAX_LINE_BYTES, MAX_ROW_BYTES

logger = logging.getLogger(__name__)
LONGEST_PATH = 4096
"""Characters of a path."""
BYTE_ORDER_MARK = "\ufeff"


class DiscardedLine(str):
    """An empty line in the place of one that was too long."""

    __slots__ = ()


class LinePart(str):
    """A part of a long line; no end of a line follows it."""

    __slots__ = ()


class RawPart(bytes):
    """A `LinePart` before it is decoded."""


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


ROW_LIMIT = LineLimit(MAX_ROW_BYTES, option="of a row of a table", advice="Divide its cells.")
DISCARDED = b"\0discarded\n"
"""What `LineLimit.read` yields for a line that it has not kept; it is compared by identity."""
SKIPPED_BYTES = 1 << 20
"""Read at once of a line that is not kept."""


def decode_line(raw: bytes, name: str, number: int) -> str:
    """Decode one line without its line end (a newline, and a carriage return before it).

    Raises:
        ValueError: the bytes are not UTF-8; names the file and the line (`number` counts from 1).
    """
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1} of the "
            "line). Convert the text to UTF-8 first, for example with `iconv`."
        ) from None


def iter_lines(stream: BinaryIO, name: str, limit: LineLimit | None = None) -> Iterator[str]:
    """Yield the lines of a binary stream as they arrive; a byte order mark at its start is no text and is left out.

    Raises:
        OSError: it cannot be read; names it.
        ValueError: the stream is not UTF-8, has a line that is too long, or unpacks a gzip file that is not complete;
            names it.
    """
    return decoded((limit or LineLimit()).read(stream, name), name)


def decoded(raw_lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines of a stream that come undecoded; errors as in `iter_lines`."""
    with unpacking(name):
        for number, raw in enumerate(without_audio(raw_lines, name), start=1):
            if raw is DISCARDED:
                yield DiscardedLine()
                continue
            line = decode_line(raw, name, number)
            line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            yield LinePart(line) if isinstance(raw, RawPart) else line


@contextmanager
def unpacking(name: str) -> Iterator[None]:
    """Raise ValueError where a gzip file that is read within this block is damaged, and name it in an OSError."""
    try:
        with naming(name):
            yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{name}: cannot be unpacked, the file is damaged or incomplete ({error}).") from None


def without_audio(lines: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield lines; raises ValueError where the first ones are those of a recording, or the first names one."""
    rest = iter(lines)
    head: list[bytes] = []
    for raw in rest:
        head.append(raw)
        if not may_begin_audio(b"".join(head)):
            break
    if head:
        check_head(head, name)
    yield from chain(head, rest)


def check_head(lines: Sequence[bytes], name: str) -> None:
    """Raise ValueError where lines of what should be text begin as a recording, or the first is the path of one.

    Warns of a text that has carriage returns in the place of newlines.
    """
    first = lines[0]
    if looks_like_audio(b"".join(lines[:HEAD_BYTES])):
        raise ValueError(
            f"{name} is a recording, but text is read here: `seqlab transcribe RUN {name}` turns recordings into text, "
            "and `seqlab train --data.kind transcription` learns from a list of them."
        )
    refuse_recordings(first.decode("utf-8", errors="replace").removeprefix(BYTE_ORDER_MARK), name)
    if b"\r" in first.removesuffix(b"\n").removesuffix(b"\r"):
        logger.warning(
            "%s: the first line holds carriage returns, which end no line here: if they are to, convert the text, for "
            "example with `tr '\\r' '\\n'`",
            name,
        )


def refuse_recordings(line: str, name: str) -> None:
    """Raise ValueError where the first line of what should be text is the path of a recording that is there."""
    path = line.strip()
    if len(path) > LONGEST_PATH or "\0" in path or Path(path).suffix.lower() not in AUDIO_SUFFIXES:
        return
    if Path(path).is_file() or (Path(name.partition("#")[0]).parent / path).is_file():
        raise ValueError(
            f"{name} lists recordings ({path}), but text is read here: `seqlab transcribe RUN --input {name}` turns "
            "them into text, and `seqlab train --data.kind transcription` learns from a list with their texts."
        )


def read_lines(path: str | Path, limit: LineLimit | None = None) -> Iterator[str]:
    """Yield the lines of a file, unpacked when its name ends in .gz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, is not UTF-8, has a line that is too long or is not a complete gzip file.
    """
    path = Path(path)
    with open_binary(path) as stream:
        yield from iter_lines(stream, str(path), limit)


class CellRows(Iterator[list[str]]):
    """The cells of lines, row by row; quoted cells may hold newlines, and a cell may be as long as a row."""

    def __init__(self, lines: Iterable[str], name: str, dialect: str = "excel", **options: Any) -> None:
        """Begin to read; `name` is for messages, `dialect` and `options` are those of `csv.reader`."""
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))  # csv's own default is 131,072
        self._reader, self._name = csv.reader((f"{line}\n" for line in lines), dialect, **options), name

    @property
    def line_num(self) -> int:
        """The line that the last row ends at, from 1."""
        return self._reader.line_num

    def __next__(self) -> list[str]:
        """Give the next row, empty for an empty line; raises ValueError naming a line that cannot be divided."""
        try:
            return next(self._reader)
        except csv.Error as error:
            raise ValueError(f"{self._name}, line {self.line_num}: the cells cannot be separated ({error}).") from None


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading bytes, unpacked when its name ends in .gz; errors as in `read_lines`."""
    require_file(path)
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def require_file(path: Path) -> None:
    """Raise FileNotFoundError or ValueError, naming the path, unless a file is there."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, but a file is needed.")
