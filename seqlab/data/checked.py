"""Which files of a cache were found to be whole, so that they are read again only when one was touched."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_regular
from seqlab.data.column import Stamp
from seqlab.data.columns import stamp_of

CHECKED_FILE = "checked.json"
_STAMPS = TypeAdapter(dict[str, Stamp])


def is_untouched(folder: Path) -> bool:
    """Tell whether all files below the subfolders are as they were when they were checked."""
    try:
        return _STAMPS.validate_json(read_regular(folder / CHECKED_FILE)) == _stamps(folder)
    except (OSError, ValueError):
        return False


def remember_checked(folder: Path) -> None:
    """Note that the files are whole."""
    write_json(folder / CHECKED_FILE, _stamps(folder))


def _stamps(folder: Path) -> dict[str, Stamp]:
    return {str(path.relative_to(folder)): stamp_of(path) for path in sorted(folder.glob("*/*"))}
