"""Cache folders of encoded corpora, which are reused while their inputs are unchanged."""

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


def open_or_make(folder: Path, specs: Sequence[str], open_cache: Callable[[], T], make_cache: Callable[[], None]) -> T:
    """Open a cache; make it first if it is missing, incomplete, or made from other inputs.

    Args:
        folder: folder of the cache.
        specs: path specs of the inputs.
        open_cache: function that opens the cache; it raises ValueError if the cache cannot be used.
        make_cache: function that makes the cache.
    """
    try:
        data = open_cache()
    except ValueError as reason:
        logger.info("Encoding the corpora%s", f": {reason}" if folder.exists() else ".")
        make_cache()
        data = open_cache()
    if not is_unchanged(folder):
        save_stamps(folder)
    save_input_hashes(specs, folder)
    shutil.rmtree(workspace_of(folder), ignore_errors=True)
    return data


def write_description(folder: Path, key: str, report: dict[str, Any]) -> None:
    """Write the description of a cache: the key of its inputs, and its data report."""
    write_checksummed_json(folder / DESCRIPTION_FILE, {"key": key, "report": report})


def read_report(folder: Path, key: str) -> Any:
    """Read the data report of a cache; raises ValueError if it is missing, or if the key differs."""
    try:
        description = read_checksummed_json(folder / DESCRIPTION_FILE)
        stored_key, report = description["key"], description["report"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is not a usable cache: {error}") from error
    if stored_key != key:
        raise ValueError(f"{folder} was made from other text, tokenizers or options")
    return report


def hash_tokenizer(tokenizer: Tokenizer) -> str:
    """Hash the files that a tokenizer saves."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                content_hash = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(folder)} {content_hash}\n".encode())
    return digest.hexdigest()


def is_unchanged(folder: Path) -> bool:
    """Return whether the files in the subfolders have the same stamps (size, times) as at the last complete check."""
    try:
        return _STAMPS.validate_json(read_regular(folder / CHECKED_FILE)) == _stamps(folder)
    except (OSError, ValueError):
        return False


def save_stamps(folder: Path) -> None:
    """Save the stamps of the files in the subfolders, after a complete check."""
    write_json(folder / CHECKED_FILE, _stamps(folder))


def _stamps(folder: Path) -> dict[str, Stamp]:
    return {str(path.relative_to(folder)): stamp_of(path) for path in sorted(folder.glob("*/*"))}
