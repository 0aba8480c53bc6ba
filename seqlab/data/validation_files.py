"""Raw text of the validation set: additional references, and the pairs held out of the training corpora."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqlab.base.atomic_io import sync
from seqlab.base.json_text import json_text
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import parse_json
from seqlab.data.config import TokensConfig
from seqlab.data.encoded import EncodedRows
from seqlab.data.ragged import RaggedArray, RaggedWriter, resume_file
from seqlab.data.survey import RowMask

VALID_FILE = "valid.jsonl"


def read_held_out_pairs(folder: Path) -> list[tuple[str, str]]:
    """Read the source and target of the pairs held out for validation from a cache."""
    with (folder / VALID_FILE).open(encoding="utf-8", newline="\n") as file:
        return [(record["src"], record["tgt"]) for record in map(parse_json, file)]


class HeldOutFile:
    """Writer of held-out pairs as JSON Lines with the columns `src` and `tgt`, which can contain tabs, unlike .tsv."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Create the file, or append after its first `size` bytes; raises ValueError if it is shorter."""
        self._path = path
        self._file = open_for_writing(path) if size is None else resume_file(path, size)

    def extend(self, pairs: EncodedRows) -> None:
        """Append pairs, which must include their text."""
        for src, tgt in zip(*pairs.texts, strict=True):
            record = {"src": src.tobytes().decode("utf-8"), "tgt": tgt.tobytes().decode("utf-8")}
            self._file.write((json_text(record, ensure_ascii=False) + "\n").encode("utf-8"))

    def save(self) -> int:
        """Flush the file to disk; return its size in bytes."""
        sync(self._file, self._path)
        return self._file.tell()

    def close(self) -> None:
        """Flush and close the file."""
        self.save()
        self._file.close()


def read_references(config: TokensConfig) -> list[list[str]]:
    """Read the additional references of the validation set.

    Returns one list per reference file, with one line per validation pair; an empty line means no reference.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read, or its number of lines differs from that of the sources.
    """
    return [[line for _, line in corpus.rows()] for corpus in config.corpora("references")]


def write_references(folder: Path, references: Sequence[Sequence[str]], kept: RowMask) -> None:
    """Write the references of the kept pairs."""
    for number, lines in enumerate(references, start=1):
        path = _path(folder, number)
        path.parent.mkdir(exist_ok=True)
        writer = RaggedWriter(path, np.uint8)
        writer.extend(RaggedArray.from_texts([lines[row] for row in np.flatnonzero(kept).tolist()]))
        writer.close()


def open_references(folder: Path, count: int, num_pairs: int, *, check: bool) -> list[RaggedArray]:
    """Open `count` files that `write_references` wrote; raises ValueError as `RaggedArray.open` does."""
    arrays = [RaggedArray.open(_path(folder, number), check=check) for number in range(1, count + 1)]
    if any(len(rows) != num_pairs for rows in arrays):
        raise ValueError(f"{folder}: the additional references do not have {num_pairs} rows.")
    return arrays


def _path(folder: Path, number: int) -> Path:
    return folder / "references" / str(number)
