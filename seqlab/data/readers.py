"""Reading of text lines from bytes: only a newline ends a line, not Unicode's other line separators."""

from __future__ import annotations

import logging
import lzma
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

from seqlab.audio.containers import AUDIO_SUFFIXES, HEAD_BYTES, looks_like_audio, may_begin_audio
from seqlab.base.named_files import filename_in_errors
from seqlab.base.raw_lines import DISCARDED, LineLimit, PartialLine
from seqlab.data.file_types import (
    open_decompressed,
    refuse_markup,
    refuse_other_types,
    refuse_subtitles_and_catalogs,
)

logger = logging.getLogger(__name__)
MAX_PATH_CHARS = 4096
"""Maximum number of characters of a path."""
BYTE_ORDER_MARK = "\ufeff"


class DiscardedLine(str):
    """An empty line in place of a line that is too long."""

    __slots__ = ()


class LinePart(str):
    """A part of a long line, continued in the next item."""

    __slots__ = ()


def decode_line(raw: bytes, name: str, number: int) -> str:
    """Decode one line without its line ending (a newline, and a carriage return before it).

    Raises:
        ValueError: the bytes are not UTF-8; the message has the file and the line `number`, from 1.
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
    """Yield the lines of a binary stream as they arrive, without a byte order mark at the start.

    Raises:
        OSError: the stream cannot be read.
        ValueError: the stream is not UTF-8, a line is too long, or the compressed file that is read is incomplete.
    """
    return decode_lines((limit or LineLimit()).read(stream, name), name)


def decode_lines(raw_lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Decode raw lines of a stream; raises errors as `iter_lines` does."""
    with convert_unpacking_errors(name):
        for number, raw in enumerate(refuse_other_content(raw_lines, name), start=1):
            if raw is DISCARDED:
                yield DiscardedLine()
                continue
            line = decode_line(raw, name, number)
            line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            yield LinePart(line) if isinstance(raw, PartialLine) else line


@contextmanager
def convert_unpacking_errors(name: str) -> Iterator[None]:
    """Raise ValueError if a compressed file that is read within the context is damaged; add `name` to an OSError."""
    try:
        with filename_in_errors(name):
            yield
    except (EOFError, OSError, zlib.error, lzma.LZMAError, BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:  # gzip and bz2 raise errors without a number
            raise
        raise ValueError(f"{name}: cannot be unpacked, the file is damaged or incomplete ({error}).") from None


def refuse_other_content(lines: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield lines; raises ValueError as `check_first_lines` does, for example for a recording or an archive."""
    remaining = iter(lines)
    head: list[bytes] = []
    for raw in remaining:
        head.append(raw)
        if not may_begin_audio(b"".join(head)):
            break
    if head:
        check_first_lines(head, name)
    yield from chain(head, remaining)


def check_first_lines(lines: Sequence[bytes], name: str) -> None:
    """Raise ValueError if the first lines are those of a recording or of another file that is not text.

    Also raise it for the path of a recording.

    Logs a warning for carriage returns instead of newlines.
    """
    first = lines[0]
    if looks_like_audio(b"".join(lines[:HEAD_BYTES])):
        raise ValueError(
            f"{name} is a recording, but this input must be text: `seqlab transcribe RUN {name}` transcribes "
            "recordings, and `seqlab train --data.kind transcription` trains on a list of them."
        )
    refuse_other_types(first, name)
    text = first.decode("utf-8", errors="replace").removeprefix(BYTE_ORDER_MARK)
    refuse_markup(text, name)
    refuse_subtitles_and_catalogs(text, name)
    refuse_recording_path(text, name)
    if b"\r" in first.removesuffix(b"\n").removesuffix(b"\r"):
        logger.warning(
            "%s: the first line has carriage returns, which do not end a line: if they should, convert the text, for "
            "example with `tr '\\r' '\\n'`",
            name,
        )


def refuse_recording_path(line: str, name: str) -> None:
    """Raise ValueError if the first line of a text is the path of an existing recording."""
    path = line.strip()
    if len(path) > MAX_PATH_CHARS or "\0" in path or Path(path).suffix.lower() not in AUDIO_SUFFIXES:
        return
    if Path(path).is_file() or (Path(name.partition("#")[0]).parent / path).is_file():
        raise ValueError(
            f"{name} lists recordings ({path}), but this input must be text: `seqlab transcribe RUN --input {name}` "
            "transcribes them, and `seqlab train --data.kind transcription` trains on a list with their texts."
        )


def read_lines(path: str | Path, limit: LineLimit | None = None) -> Iterator[str]:
    """Yield the lines of a file; .gz, .bz2, .xz and .zip files are decompressed.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, the file is not UTF-8, a line is too long, or a compressed file is incomplete.
    """
    path = Path(path)
    with open_binary(path) as stream:
        yield from iter_lines(stream, str(path), limit)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading bytes; .gz, .bz2, .xz and .zip files are decompressed. Raises errors as `read_lines`."""
    require_file(path)
    with convert_unpacking_errors(str(path)):
        return open_decompressed(path, path) or path.open("rb")


def require_file(path: Path) -> None:
    """Raise FileNotFoundError or ValueError unless the path is an existing file."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if path.is_dir():
        parts = " Join the parts of a table into one file." if path.suffix.lower() == ".parquet" else ""
        raise ValueError(f"{path}: is a folder, but a file is needed.{parts}")


class Lines:
    """Numbered lines that can be looked at before they are read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self._ahead = iter(lines), deque[str]()
        self.number = 0
        """Number of the last line that was read, from 1."""

    def peek(self, index: int = 0) -> str | None:
        """Return a line after the last one that was read, the next one by default; None after the end."""
        while len(self._ahead) <= index:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[index]

    def __iter__(self) -> Iterator[str]:
        while (line := self._ahead.popleft() if self._ahead else next(self._lines, None)) is not None:
            self.number += 1
            yield line

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self.number += 1
        return line
