"""An encoded corpus in a folder: made once, and opened while it was made from what lies here."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from seqlab.base.atomic_io import read_checksummed_json, write_checksummed_json, write_json
from seqlab.base.parsing import read_regular
from seqlab.data.column import Stamp
from seqlab.data.columns import stamp_of
from seqlab.data.input_hashes import save_input_hashes
from seqlab.data.workspace import workspace_of
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)

T = TypeVar("T")
DESCRIPTION_FILE = "cache.json"
CHECKED_FILE = "checked.json"
_STAMPS = TypeAdapter(dict[str, Stamp])


def open_or_make(folder: Path, specs: Sequence[str], opened: Callable[[], T], make: Callable[[], None]) -> T:
    """Open what is in a folder, after making it where it is not whole or was made from other things.

    `opened` raises ValueError where that is so. `specs` are the path specs that it is made from.
    """
    try:
        data = opened()
    except ValueError as reason:
        logger.info("Encoding the corpora%s", f": {reason}" if folder.exists() else ".")
        make()
        data = opened()
    if not is_unchanged(folder):
        save_stamps(folder)
    save_input_hashes(specs, folder)
    shutil.rmtree(workspace_of(folder), ignore_errors=True)
    return data


def write_description(folder: Path, key: str, report: dict[str, Any]) -> None:
    """Note what a cache was made from, and what is known of it."""
    write_checksummed_json(folder / DESCRIPTION_FILE, {"key": key, "report": report})


def read_report(folder: Path, key: str) -> Any:
    """Return the report of a cache; raises ValueError where it has none, or was made from other things."""
    try:
        description = read_checksummed_json(folder / DESCRIPTION_FILE)
        found, report = description["key"], description["report"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no usable cache: {error}") from error
    if found != key:
        raise ValueError(f"{folder} was made from other text, tokenizers or settings")
    return report


def hash_tokenizer(tokenizer: Tokenizer) -> str:
    """Tell tokenizers apart by what they save."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                content_hash = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(folder)} {content_hash}\n".encode())
    return digest.hexdigest()


def is_unchanged(folder: Path) -> bool:
    """Tell whether all files below the subfolders are as they were when they were checked."""
    try:
        return _STAMPS.validate_json(read_regular(folder / CHECKED_FILE)) == _stamps(folder)
    except (OSError, ValueError):
        return False


def save_stamps(folder: Path) -> None:
    """Note that the files are whole."""
    write_json(folder / CHECKED_FILE, _stamps(folder))


def _stamps(folder: Path) -> dict[str, Stamp]:
    return {str(path.relative_to(folder)): stamp_of(path) for path in sorted(folder.glob("*/*"))}
