"""A corpus as the sampler sees it: ids, text and where each pair came from, in memory maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.rows import ArrayWriter, Rows, RowsWriter, id_dtype, open_array
from seqlab.durable import write_json


@dataclass(frozen=True)
class Span:
    """The part of the encoded pairs that came from one corpus."""

    src: str  # path specs, for messages
    tgt: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class EncodedPairs:
    """Kept pairs in file order, corpus after corpus."""

    src: Rows  # ids without special ids
    tgt: Rows
    src_text: Rows | None  # UTF-8 bytes of the raw lines, where they are needed again
    tgt_text: Rows | None
    lines: NDArray[np.int64]  # (pairs,): the line or record in the pair's files, from 1
    spans: list[Span]

    @classmethod
    def open(cls, folder: Path, *, check: bool = False) -> EncodedPairs:
        """Map a folder that `PairsWriter` wrote.

        Raises:
            ValueError: a file is missing, incomplete or damaged.
        """
        try:
            description = json.loads((folder / "pairs.json").read_text("utf-8"))
            spans = [Span(**span) for span in description["spans"]]
            with_text = bool(description["with_text"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder}: is not a folder of encoded pairs ({error}).") from error
        names = ["src", "tgt", "src_text", "tgt_text"] if with_text else ["src", "tgt"]
        rows = {name: Rows.open(folder / name, check=check) for name in names}
        lines = open_array(folder / "lines", check=check)
        if {len(each) for each in rows.values()} != {len(lines)} or sum(map(len, spans)) != len(lines):
            raise ValueError(f"{folder}: the files do not hold the same number of pairs.")
        return cls(rows["src"], rows["tgt"], rows.get("src_text"), rows.get("tgt_text"), lines, spans)

    def __len__(self) -> int:
        return len(self.lines)

    def locate(self, index: int) -> str:
        """Name the files and the line of a pair."""
        span = next(span for span in self.spans if span.start <= index < span.stop)
        return f"{span.src} and {span.tgt}, line {self.lines[index]}"

    def padded_lengths(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the source and target lengths of some pairs as a batch counts them: one special id each."""
        return self.src.lengths_of(indices) + 1, self.tgt.lengths_of(indices) + 1


class PairsWriter:
    """Write encoded pairs to a folder, a batch at a time."""

    def __init__(self, folder: Path, src_vocab_size: int, tgt_vocab_size: int, *, with_text: bool) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._ids = [
            RowsWriter(folder / "src", id_dtype(src_vocab_size)),
            RowsWriter(folder / "tgt", id_dtype(tgt_vocab_size)),
        ]
        names = ["src_text", "tgt_text"] if with_text else []
        self._texts = [RowsWriter(folder / name, np.uint8) for name in names]
        self._lines = ArrayWriter(folder / "lines", np.int64)
        self._spans: list[Span] = []

    def start_corpus(self, src: str, tgt: str) -> None:
        """Say where the pairs that follow come from."""
        self._spans.append(Span(src, tgt, self._lines.size, self._lines.size))

    def extend(
        self,
        ids: tuple[Sequence[list[int]], Sequence[list[int]]],
        texts: tuple[Sequence[str], Sequence[str]],
        lines: NDArray[np.int64],
    ) -> None:
        """Append pairs: (source, target) ids, (source, target) raw text, line numbers."""
        for id_writer, id_rows in zip(self._ids, ids, strict=True):
            id_writer.extend(id_rows)
        for text_writer, text in zip(self._texts, texts if self._texts else (), strict=True):
            text_writer.extend_text(text)
        self._lines.append(lines)
        span = self._spans[-1]
        self._spans[-1] = Span(span.src, span.tgt, span.start, self._lines.size)

    def __enter__(self) -> PairsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        writers: list[Any] = [*self._ids, *self._texts, self._lines]
        for writer in writers:
            if kind is None:
                writer.close()
            else:
                writer.discard()
        if kind is None:
            description = {"spans": [asdict(span) for span in self._spans], "with_text": bool(self._texts)}
            write_json(self._folder / "pairs.json", description)
