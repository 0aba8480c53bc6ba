"""The pairs that are split off for validation, as JSON lines: `label`, `translate` and `evaluate` read them."""

from __future__ import annotations

import json
from pathlib import Path

from seqlab.base.atomic_io import sync
from seqlab.base.named_files import open_named
from seqlab.base.parsing import parse_json
from seqlab.data.encoded import EncodedRows
from seqlab.data.rows import resume_file

VALID_FILE = "valid.jsonl"


def read_split_off(folder: Path) -> list[tuple[str, str]]:
    """Read the pairs that were split off into a cache: source and target of each."""
    with (folder / VALID_FILE).open(encoding="utf-8", newline="\n") as file:
        return [(record["src"], record["tgt"]) for record in map(parse_json, file)]


class SplitOffFile:
    """Write pairs with the columns `src` and `tgt`, which unlike those of .tsv may hold the tabs before tags."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Begin a file, or go on behind its first `size` bytes; raises ValueError where it has fewer."""
        self._path = path
        self._file = open_named(path) if size is None else resume_file(path, size)

    def extend(self, pairs: EncodedRows) -> None:
        """Add pairs, which come with their text."""
        for src, tgt in zip(*pairs.texts, strict=True):
            record = {"src": src.tobytes().decode("utf-8"), "tgt": tgt.tobytes().decode("utf-8")}
            self._file.write((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8"))

    def save(self) -> int:
        """Put what there is onto the disk; return its size in bytes."""
        sync(self._file, self._path)
        return self._file.tell()

    def close(self) -> None:
        """Write what is left."""
        self.save()
        self._file.close()
