"""Files whose write errors name the file, which Python's own errors, of a full disk for example, do not."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

BUFFER_BYTES = 1 << 16


@contextmanager
def naming(name: str | Path) -> Iterator[None]:
    """Add the name of a file to an OSError that is raised in this block and has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(name)
        raise


class _NamedFile(io.FileIO):
    """An unbuffered file whose errors name it; closing it leaves a descriptor open that it was given."""

    def __init__(self, file: str | int, mode: str, label: str) -> None:
        super().__init__(file, mode, closefd=not isinstance(file, int))
        self._label = label

    def write(self, data: Any, /) -> int:
        with naming(self._label):
            return super().write(data)

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        with naming(self._label):
            return super().seek(position, whence)


def open_named(path: Path, mode: str = "wb", label: Path | None = None) -> BinaryIO:
    """Open a file to write on (`wb`, `ab`, `r+b`), whose errors have its name, or that of `label`."""
    try:
        raw = _NamedFile(os.fspath(path), mode, str(label or path))
    except OSError as error:
        error.filename = str(label or path)
        raise
    made = io.BufferedRandom(raw, BUFFER_BYTES) if "+" in mode else io.BufferedWriter(raw, BUFFER_BYTES)
    return cast(BinaryIO, made)


def text_of_descriptor(descriptor: int, label: str, errors: str, *, by_line: bool) -> io.TextIOWrapper:
    """Open a descriptor that stays open for text in UTF-8; a write that fails names `label`."""
    buffered = io.BufferedWriter(_NamedFile(descriptor, "wb", label), BUFFER_BYTES)
    return io.TextIOWrapper(buffered, encoding="utf-8", errors=errors, newline="\n", line_buffering=by_line)
