"""Files that are whole or absent, whatever ends the process or the machine: written aside, synced, then renamed."""

import json
import os
from pathlib import Path
from typing import Any


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
