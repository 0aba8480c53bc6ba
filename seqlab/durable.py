"""Files that are whole or absent, whatever ends the process or the machine: written aside, synced, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows a folder cannot be locked
    fcntl = None  # type: ignore[assignment]


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file at once; raises OSError (a full disk), and then what was there before is untouched."""
    temporary = temporary_name(path)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Replace a file by JSON."""
    write_bytes(path, json.dumps(value, indent=1, ensure_ascii=False).encode())


def rename(old: Path, new: Path) -> None:
    """Rename a file or a folder whose content is synced, and sync the new name."""
    os.replace(old, new)
    descriptor = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path, *, wait: bool) -> Iterator[None]:
    """Keep out other processes that ask the same of a folder, until this context or the process ends.

    Raises:
        BlockingIOError: one is in there, and this is not to wait.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """Name what a file is written as until it is whole."""
    return path.with_name(path.name + ".tmp")


def sync_files(folder: Path) -> None:
    """Sync every file below a folder, and the folders, to the disk: files that another program has written."""
    for path in (folder, *folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
