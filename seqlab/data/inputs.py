"""Which text a cache was made from: the SHA-256 of each file, computed again only where the file was touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from seqlab.data.columns import parse_column
from seqlab.data.parallel import ParallelCorpus
from seqlab.data.readers import require_file
from seqlab.durable import write_json

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds: while both stay, the content is taken to stay too."""
Hashes = dict[str, tuple[Stamp, str]]  # by absolute path

HASHES_FILE = "inputs.json"
_HASHES = TypeAdapter(Hashes)


def hash_inputs(specs: Sequence[str], cache: Path) -> dict[str, str]:
    """Give the SHA-256 of each file of some path specs; one that `cache` remembers and that is untouched is not read.

    Raises FileNotFoundError for a missing one.
    """
    hashes = _hashes_of(specs, cache)
    return {str(path): hashes[str(path.resolve())][1] for path in _input_paths(specs)}


def remember_inputs(specs: Sequence[str], cache: Path) -> None:
    """Write the hashes into a cache, unless it has them."""
    hashes = _hashes_of(specs, cache)
    if hashes != _read_hashes(cache):
        write_json(cache / HASHES_FILE, hashes)


def corpus_key(corpus: ParallelCorpus) -> str:
    """Tell corpora apart by their content."""
    return key_of([(_hash_file(side.path, stamp_of(side.path)), side.kind, side.column) for side in corpus.sides])


def key_of(value: object) -> str:
    """Hash what can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does; raises FileNotFoundError or ValueError where it is none."""
    require_file(path)
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=1024)
def _hash_file(path: Path, stamp: Stamp) -> str:
    """Return the SHA-256 of a file; `stamp` is only there so that an untouched file is read once in a process."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _input_paths(specs: Sequence[str]) -> list[Path]:
    return list(dict.fromkeys(parse_column(spec).path for spec in specs))


def _hashes_of(specs: Sequence[str], cache: Path) -> Hashes:
    known = _read_hashes(cache)
    hashes: Hashes = {}
    for path in _input_paths(specs):
        stamp, name = stamp_of(path), str(path.resolve())
        known_stamp, known_hash = known.get(name, (None, ""))
        hashes[name] = (stamp, known_hash if known_stamp == stamp else _hash_file(path, stamp))
    return hashes


def _read_hashes(cache: Path) -> Hashes:
    try:
        return _HASHES.validate_json((cache / HASHES_FILE).read_bytes())
    except (OSError, ValidationError):
        return {}
