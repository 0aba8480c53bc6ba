"""Files that are whole or absent, whatever ends the process or the machine: written aside, synced, then renamed.

JSON objects may carry their own checksum, so that a flipped bit in one is found.
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

from seqlab.base.named_files import naming, open_named
from seqlab.base.parsing import open_regular, read_json

try:
    import fcntl
except ImportError:  # on Windows a folder cannot be locked
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
CHECK_BYTES = 1 << 24
SHOWN_CHARS = 20
"""Around what is wrong in a message."""
TEMPORARY = ".tmp"
SEAL = "sha256"
"""The key of a JSON object's own checksum."""


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file at once; raises OSError (a full disk), and then what was there before is untouched."""
    temporary = temporary_name(path)
    with open_named(temporary, label=path) as file:
        file.write(content)
        sync(file, path)
    rename(temporary, path)


def sync(file: BinaryIO, path: Path) -> None:
    """Bring what was written to a file to the disk; raises OSError naming the path."""
    file.flush()
    with naming(path):
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Replace a file by JSON."""
    try:
        content = json.dumps(value, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # how Python keeps the other bytes of a name
        start = max(0, error.start - SHOWN_CHARS)
        shown = error.object[start : error.end + SHOWN_CHARS]
        raise ValueError(
            f"{path} cannot hold a name that is not UTF-8 ({shown!r}): rename the file or the folder."
        ) from None
    write_bytes(path, content)


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Replace a file by JSON that carries its own checksum."""
    write_json(path, sealed(values))


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote, or what earlier versions wrote without a checksum.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or is no JSON object.
    """
    return unsealed(read_json(path), required=False)


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that JSON can hold together with the SHA-256 of all others."""
    return {**values, SEAL: _digest(json.loads(json.dumps(values)))}


def unsealed(values: Mapping[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Return values that were read from JSON without their checksum.

    Raises:
        ValueError: it is that of other values, or is missing although it is required; these are no object.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it is not a JSON object")
    rest = {name: value for name, value in values.items() if name != SEAL}
    if (required or SEAL in values) and values.get(SEAL) != _digest(rest):
        raise ValueError("its checksum is missing" if SEAL not in values else "its checksum is that of other values")
    return rest


def _digest(values: object) -> str:
    """Hash values as read from JSON, whatever the order and the spacing that they were written in."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def file_checksum(path: Path) -> int:
    """Compute the CRC-32 of a file, block by block."""
    checksum = 0
    with open_regular(path) as stream:
        while data := stream.read(CHECK_BYTES):
            checksum = zlib.crc32(data, checksum)
    return checksum


def rename(old: Path, new: Path) -> None:
    """Rename a file or a folder whose content is synced, and sync the new name."""
    os.replace(old, new)
    descriptor = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, *, keeps_part: bool = False) -> Iterator[BinaryIO]:
    """Write a file atomically: a temporary file is renamed when the block ends without an error.

    The temporary file is `part_of(path)`; what a kill leaves in it is overwritten the next time. A symbolic link
    stays, and the file that it leads to is replaced.

    Args:
        path: the final name.
        keeps_part: keep the temporary file after an error, with a warning that names it.

    Raises:
        OSError: it cannot be written; names the path.
        ValueError: another process is writing it.
    """
    final, temporary = Path(os.path.realpath(path)), part_of(path)
    with _opened_alone(temporary, path) as file:
        try:
            yield file
            sync(file, path)
            rename(temporary, final)
        except BaseException:
            with suppress(OSError, ValueError):
                file.flush()
            with suppress(OSError):  # it has its final name already
                if keeps_part and temporary.stat().st_size:
                    logger.warning("%s was not finished: what there is so far is in %s", path, temporary)
                else:
                    temporary.unlink()
            raise


def part_of(path: Path) -> Path:
    """Name the temporary file of `replacing`: a hidden file beside the final one, of a name that nobody else uses."""
    final = Path(os.path.realpath(path))
    return final.with_name(f".{final.name}.seqlab-part")


@contextmanager
def _opened_alone(temporary: Path, path: Path) -> Iterator[BinaryIO]:
    """Open an empty temporary file under a lock; `path` is the final name, for messages."""
    while True:
        with open_named(temporary, "ab", path) as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ValueError(f"Another process is writing {path}: wait for it, or name another file.") from None
            # Between opening and locking, another process may have finished the file, which has its final name then.
            if temporary.exists() and os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
                file.truncate(0)
                yield file
                return


@contextmanager
def alone_in(folder: Path, *, wait: bool) -> Iterator[int | None]:
    """Keep out other processes that ask the same of a folder, until this context or the process ends.

    Gives the descriptor that the folder is open on; None where the system locks no folders.

    Raises:
        BlockingIOError: one is in there, and this is not to wait.
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


def temporary_name(path: Path) -> Path:
    """Name what a file is written as until it is whole."""
    return path.with_name(path.name + TEMPORARY)


def sync_files(folder: Path) -> None:
    """Sync every file below a folder, and the folders, to the disk: files that another program has written."""
    for path in (folder, *folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
