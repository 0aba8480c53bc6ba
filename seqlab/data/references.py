"""Further references of validation pairs, for the metrics of what is decoded: raw lines beside the cache of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqlab.data.config import TokensConfig
from seqlab.data.rows import Rows, RowsWriter
from seqlab.data.survey import Mask


def read_references(config: TokensConfig) -> list[list[str]]:
    """Read further references of the validation set: a line of each for every pair, empty where there is none.

    Raises:
        FileNotFoundError, ValueError: one cannot be read, or is not as long as the sources; names both counts.
    """
    return [[line for _, line in corpus.rows()] for corpus in config.corpora("references")]


def write_references(folder: Path, references: Sequence[Sequence[str]], kept: Mask) -> None:
    """Write the references of the pairs that are kept."""
    for number, lines in enumerate(references, start=1):
        path = _path(folder, number)
        path.parent.mkdir(exist_ok=True)
        writer = RowsWriter(path, np.uint8)
        writer.extend(Rows.from_texts([lines[place] for place in np.flatnonzero(kept).tolist()]))
        writer.close()


def open_references(folder: Path, count: int, num_pairs: int, *, check: bool) -> list[Rows]:
    """Map `count` files of references that `write_references` wrote; raises ValueError as `Rows.open` does."""
    found = [Rows.open(_path(folder, number), check=check) for number in range(1, count + 1)]
    if any(len(rows) != num_pairs for rows in found):
        raise ValueError(f"{folder}: the further references are not of {num_pairs} pairs.")
    return found


def _path(folder: Path, number: int) -> Path:
    return folder / "references" / str(number)
