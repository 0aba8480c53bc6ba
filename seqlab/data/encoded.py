"""Encoded corpora in memory maps: ids, raw text, and the source line of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.base.atomic_io import read_checksummed_json, write_checksummed_json
from seqlab.data.column import row_location
from seqlab.data.ragged import ArrayState, ArrayWriter, RaggedArray, RaggedState, RaggedWriter, id_dtype, open_array

SIDES = ("src", "tgt")
"""Names of the columns of a corpus in its files; monolingual text has only `tgt`."""
DESCRIPTION_FILE, OLDER_DESCRIPTION_FILE = "corpus.json", "pairs.json"


@dataclass(frozen=True)
class Span:
    """Range of the encoded rows of one corpus."""

    columns: tuple[str, ...]  # path specs, for messages
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class EncodedCorpus:
    """Kept rows of one or two columns in file order, one corpus after the other.

    Sources and targets of pairs have no special ids. Lines of monolingual text end with eos and are concatenated in
    `tgt.values`.
    """

    columns: Sequence[RaggedArray]  # ids
    texts: Sequence[RaggedArray]  # UTF-8 bytes of the raw lines of each column; empty if they are not kept
    lines: NDArray[np.int64]  # (rows, columns): line or record in each file, from 1
    spans: list[Span]

    @classmethod
    def open(cls, folder: Path, *, check: bool = False) -> EncodedCorpus:
        """Open a folder written by `CorpusWriter` as memory maps; with `check`, verify checksums.

        Raises:
            ValueError: a file is missing, incomplete or damaged.
        """
        try:
            description = _read_description(folder)
            spans = [
                Span(tuple(span[side] for side in SIDES if side in span), span["start"], span["stop"])
                for span in description["spans"]
            ]
            num_columns, with_text = len(spans[0].columns), bool(description["with_text"])
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{folder}: is not an encoded corpus ({error}).") from error
        names = _file_names(num_columns, with_text)
        rows = [RaggedArray.open(folder / name, check=check) for name in names]
        lines = open_array(folder / "lines", check=check).reshape(-1, num_columns)
        if {len(column) for column in rows} != {len(lines)} or sum(map(len, spans)) != len(lines):
            raise ValueError(f"{folder}: the files do not hold the same number of rows.")
        return cls(rows[:num_columns], rows[num_columns:], lines, spans)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def src(self) -> RaggedArray:
        """Ids of the first column."""
        return self.columns[0]

    @property
    def tgt(self) -> RaggedArray:
        """Ids of the last column."""
        return self.columns[-1]

    @property
    def src_text(self) -> RaggedArray | None:
        """Raw text of the first column, if it is kept."""
        return self.texts[0] if self.texts else None

    @property
    def tgt_text(self) -> RaggedArray | None:
        """Raw text of the last column, if it is kept."""
        return self.texts[-1] if self.texts else None

    @property
    def num_tokens(self) -> int:
        """Number of ids of the last column; for monolingual text, this includes eos."""
        return len(self.tgt.values)

    def locate(self, index: int) -> str:
        """Return the location (files and lines) of a row."""
        span = next(span for span in self.spans if span.start <= index < span.stop)
        return row_location(span.columns, self.lines[index].tolist())

    def locate_token(self, token: int) -> str:
        """Return the location of a token of the last column; tokens are numbered from 0 over all rows."""
        return self.locate(int(np.searchsorted(self.tgt.offsets, token, "right")) - 1)


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows in memory."""

    columns: Sequence[RaggedArray]
    texts: Sequence[RaggedArray]  # of all columns; empty if text is not kept
    lines: NDArray[np.int64]  # (rows, columns)

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(frozen=True)
class CorpusState:
    """State of a partially written corpus, for resuming."""

    rows: list[RaggedState]
    lines: ArrayState
    spans: list[Span]


class CorpusWriter:
    """Write encoded rows to a folder, block by block; resumable like `ArrayWriter`."""

    def __init__(
        self, folder: Path, vocab_sizes: Sequence[int], *, with_text: bool, state: CorpusState | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.with_text = with_text
        self._folder, self._num_columns = folder, len(vocab_sizes)
        names = _file_names(self._num_columns, with_text)
        types: list[Any] = [*map(id_dtype, vocab_sizes), *[np.uint8] * (len(names) - self._num_columns)]
        states = [None] * len(names) if state is None else state.rows
        self._rows = [
            RaggedWriter(folder / name, dtype, rows_state)
            for name, dtype, rows_state in zip(names, types, states, strict=True)
        ]
        self._lines = ArrayWriter(folder / "lines", np.int64, None if state is None else state.lines)
        self._spans: list[Span] = [] if state is None else list(state.spans)

    def __len__(self) -> int:
        return self._lines.size // self._num_columns

    def start_corpus(self, columns: Sequence[str]) -> None:
        """Start the span of the next corpus, given its path specs."""
        self._spans.append(Span(tuple(columns), len(self), len(self)))

    def extend(self, rows: EncodedRows) -> None:
        """Append rows, with their text if the writer keeps text."""
        for writer, column in zip(self._rows, [*rows.columns, *rows.texts], strict=True):
            writer.extend(column)
        self._lines.append(rows.lines.reshape(-1))
        self._spans[-1] = replace(self._spans[-1], stop=len(self))

    def save(self) -> CorpusState:
        """Flush the rows to disk, and return the state from which another writer can resume."""
        return CorpusState([writer.save() for writer in self._rows], self._lines.save(), list(self._spans))

    def close(self) -> None:
        """Finish the files and write their description."""
        for rows in self._rows:
            rows.close()
        self._lines.close()
        sides = SIDES[-self._num_columns :]
        spans = [
            dict(zip(sides, span.columns, strict=True)) | {"start": span.start, "stop": span.stop}
            for span in self._spans
        ]
        write_checksummed_json(self._folder / DESCRIPTION_FILE, {"spans": spans, "with_text": self.with_text})


def _file_names(num_columns: int, with_text: bool) -> list[str]:
    sides = SIDES[-num_columns:]
    return [*sides, *(f"{side}_text" for side in sides if with_text)]


def _read_description(folder: Path) -> dict[str, Any]:
    """Read the description; `export` also needs the older format of finished runs, which had only pairs."""
    older = folder / OLDER_DESCRIPTION_FILE
    return read_checksummed_json(older if older.exists() else folder / DESCRIPTION_FILE)
