"""Files for writing that add their name to OSErrors; Python omits it from some errors, such as that of a full disk."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

BUFFER_BYTES = 1 << 16


@contextmanager
def filename_in_errors(name: str | Path) -> Iterator[None]:
    """Set the file name of an OSError that is raised within the context without one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(name)
        raise


class _RawFile(io.FileIO):
    """An unbuffered file that adds `label` to OSErrors; closing it does not close a descriptor passed as `file`."""

    def __init__(self, file: str | int, mode: str, label: str) -> None:
        super().__init__(file, mode, closefd=not isinstance(file, int))
        self._label = label

    def write(self, data: Any, /) -> int:
        with filename_in_errors(self._label):
            return super().write(data)

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        with filename_in_errors(self._label):
            return super().seek(position, whence)


def open_for_writing(path: Path, mode: str = "wb", label: Path | None = None) -> BinaryIO:
    """Open a file in a mode for writing (`wb`, `ab`, `r+b`); OSErrors contain the name `label`, or else `path`."""
    try:
        raw = _RawFile(os.fspath(path), mode, str(label or path))
    except OSError as error:
        error.filename = str(label or path)
        raise
    buffered = io.BufferedRandom(raw, BUFFER_BYTES) if "+" in mode else io.BufferedWriter(raw, BUFFER_BYTES)
    return cast(BinaryIO, buffered)


def open_text_descriptor(descriptor: int, label: str, errors: str, *, by_line: bool) -> io.TextIOWrapper:
    """Open a file descriptor for writing UTF-8 text.

    Closing the text file leaves the descriptor open. OSErrors contain the name `label`.
    """
    buffered = io.BufferedWriter(_RawFile(descriptor, "wb", label), BUFFER_BYTES)
    return io.TextIOWrapper(buffered, encoding="utf-8", errors=errors, newline="\n", line_buffering=by_line)
