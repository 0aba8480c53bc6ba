"""Atomic file writes, folder locks, and JSON files with a checksum.

A file is written under a temporary name, synced and renamed: after a crash it is complete or absent. A JSON object may
contain its own checksum, which detects a flipped bit.
"""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from seqlab.base.json_text import json_text
from seqlab.base.named_files import filename_in_errors, open_for_writing
from seqlab.base.parsing import open_regular, read_json

try:
    import fcntl
except ImportError:  # on Windows a folder cannot be locked
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
CRC_BLOCK_BYTES = 1 << 24
CONTEXT_CHARS = 20
"""Number of characters that a message shows before and after an invalid character."""
TEMPORARY_SUFFIX = ".tmp"
CHECKSUM_KEY = "sha256"
"""Key of the checksum in a JSON object."""


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically; raise OSError, for example on a full disk, with the old content unchanged."""
    temporary = temporary_path(path)
    with open_for_writing(temporary, label=path) as file:
        file.write(content)
        sync(file, path)
    rename(temporary, path)


def sync(file: BinaryIO, path: Path) -> None:
    """Flush a file to the disk; raise OSError with the name `path`."""
    file.flush()
    with filename_in_errors(path):
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Replace a file atomically by JSON; raise ValueError for a file name that is not UTF-8."""
    try:
        content = json_text(value, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # Python represents bytes of a file name that are not UTF-8 as surrogates
        start = max(0, error.start - CONTEXT_CHARS)
        shown = error.object[start : error.end + CONTEXT_CHARS]
        raise ValueError(
            f"{path} cannot hold a name that is not UTF-8 ({shown!r}): rename the file or the folder."
        ) from None
    write_bytes(path, content)


def write_checksummed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replace a file atomically by JSON that contains its own checksum."""
    write_json(path, with_checksum(values))


def read_checksummed_json(path: Path) -> dict[str, Any]:
    """Read and verify a file of `write_checksummed_json`; files of earlier versions have no checksum.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, or is not a JSON object.
    """
    return verify_checksum(read_json(path), required=False)


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `values` with their SHA-256 under `CHECKSUM_KEY`, for writing as a JSON object."""
    return {**values, CHECKSUM_KEY: _digest(json.loads(json_text(values)))}


def verify_checksum(values: Mapping[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Verify the checksum of values that were read from JSON, and return the values without it.

    Raises:
        ValueError: the checksum differs or is missing although `required`, or the values are not an object.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it is not a JSON object")
    content = {name: value for name, value in values.items() if name != CHECKSUM_KEY}
    if (required or CHECKSUM_KEY in values) and values.get(CHECKSUM_KEY) != _digest(content):
        raise ValueError(
            "its checksum is missing" if CHECKSUM_KEY not in values else "its checksum does not match its values"
        )
    return content


def _digest(values: object) -> str:
    """Hash values that were read from JSON, independently of key order and spacing."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def file_crc32(path: Path) -> int:
    """Compute the CRC-32 of a file in blocks."""
    checksum = 0
    with open_regular(path) as stream:
        while data := stream.read(CRC_BLOCK_BYTES):
            checksum = zlib.crc32(data, checksum)
    return checksum


def rename(old: Path, new: Path) -> None:
    """Rename a file or folder that is already synced, and sync the parent folder."""
    os.replace(old, new)
    descriptor = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path, *, keep_partial: bool = False) -> Iterator[BinaryIO]:
    """Write a file atomically: open a temporary file and rename it when the block ends without an error.

    The temporary file is `partial_path(path)`. If the process is killed, it remains, and the next write overwrites it.
    A symbolic link is kept, and its target is replaced.

    Args:
        path: the final path.
        keep_partial: keep the temporary file after an error, and log a warning with its path.

    Raises:
        OSError: the file cannot be written; the error has the final path.
        ValueError: another process is writing the file.
    """
    final, temporary = Path(os.path.realpath(path)), partial_path(path)
    with _open_locked(temporary, path) as file:
        try:
            yield file
            sync(file, path)
            rename(temporary, final)
        except BaseException:
            with suppress(OSError, ValueError):
                file.flush()
            with suppress(OSError):  # the file may already have its final name
                if keep_partial and temporary.stat().st_size:
                    logger.warning("%s is incomplete: the part written so far is in %s", path, temporary)
                else:
                    temporary.unlink()
            raise


def partial_path(path: Path) -> Path:
    """Return the path of the temporary file of `atomic_write`: a hidden file in the same folder."""
    final = Path(os.path.realpath(path))
    return final.with_name(f".{final.name}.seqlab-part")


@contextmanager
def _open_locked(temporary: Path, path: Path) -> Iterator[BinaryIO]:
    """Open an empty temporary file under a lock; messages name `path`, the final path."""
    while True:
        with open_for_writing(temporary, "ab", path) as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ValueError(f"Another process is writing {path}: wait for it, or name another file.") from None
            # Another process may have renamed the file to its final name after it was opened and before it was locked.
            if temporary.exists() and os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
                file.truncate(0)
                yield file
                return


@contextmanager
def folder_lock(folder: Path, *, wait: bool) -> Iterator[int | None]:
    """Hold an exclusive lock on a folder until the context or the process ends.

    Yields:
        The file descriptor of the folder; None on systems that cannot lock folders.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
    """
    if fcntl is None:
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Check whether another process holds the lock on a folder; False on systems that cannot lock folders."""
    try:
        with folder_lock(folder, wait=False):
            return False
    except BlockingIOError:
        return True


def temporary_path(path: Path) -> Path:
    """Return the temporary path of a file or folder that is being written."""
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def sync_folder(folder: Path) -> None:
    """Sync a folder and everything in it to the disk, for files that another program has written."""
    for path in (folder, *folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
