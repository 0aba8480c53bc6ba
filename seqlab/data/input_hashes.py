"""SHA-256 of the sources of a cache, recomputed only for sources with a changed stamp."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_regular
from seqlab.data.column import Column, Stamp
from seqlab.data.columns import parse_column
from seqlab.data.corpus import Corpus

InputHashes = dict[str, tuple[Stamp, str]]  # by `Column.identity`

HASHES_FILE = "inputs.json"
_HASHES = TypeAdapter(InputHashes)


def hash_inputs(specs: Sequence[str | Column], cache: Path) -> dict[str, str]:
    """Return the SHA-256 of each source of the columns, by the path of a file or the spec of a dataset.

    If the stamp of a source is unchanged, its hash from `cache` is used.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a dataset cannot be loaded.
    """
    hashes = _current_hashes(specs, cache)
    return {source.source: hashes[source.identity][1] for source in _sources(specs)}


def save_input_hashes(specs: Sequence[str], cache: Path) -> None:
    """Save the hashes of the sources of the columns in a cache, unless they are saved already."""
    hashes = _current_hashes(specs, cache)
    if hashes != _read_hashes(cache):
        write_json(cache / HASHES_FILE, hashes)


def corpus_key(corpus: Corpus) -> str:
    """Return a key of the content of a corpus."""
    columns = [(column.sha256(), column.kind, column.column) for column in corpus.columns]
    return hash_json([columns, corpus.split_records])


def hash_json(value: object) -> str:
    """Hash a value that can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sources(specs: Sequence[str | Column]) -> list[Column]:
    """Return one column for each source."""
    columns = (parse_column(spec) if isinstance(spec, str) else spec for spec in specs)
    return list({column.source: column for column in columns}.values())


def _current_hashes(specs: Sequence[str | Column], cache: Path) -> InputHashes:
    known = _read_hashes(cache)
    hashes: InputHashes = {}
    for source in _sources(specs):
        stamp = source.stamp()
        known_stamp, known_hash = known.get(source.identity, (None, ""))
        hashes[source.identity] = (stamp, known_hash if known_stamp == stamp else source.sha256())
    return hashes


def _read_hashes(cache: Path) -> InputHashes:
    try:
        return _HASHES.validate_json(read_regular(cache / HASHES_FILE))
    except (OSError, ValueError):
        return {}
