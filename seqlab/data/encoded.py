"""A corpus as the sampler sees it: ids, text and where each pair came from, in memory maps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.column import pair_place
from seqlab.data.rows import ArrayState, ArrayWriter, Rows, RowsState, RowsWriter, id_dtype, open_array
from seqlab.durable import read_sealed, write_sealed


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
    lines: NDArray[np.int64]  # (pairs, 2): the line or record in either file, from 1
    spans: list[Span]

    @classmethod
    def open(cls, folder: Path, *, check: bool = False) -> EncodedPairs:
        """Map a folder that `PairsWriter` wrote.

        Raises:
            ValueError: a file is missing, incomplete or damaged.
        """
        try:
            description = read_sealed(folder / "pairs.json")
            spans = [Span(**span) for span in description["spans"]]
            with_text = bool(description["with_text"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder}: is not a folder of encoded pairs ({error}).") from error
        names = ["src", "tgt", "src_text", "tgt_text"] if with_text else ["src", "tgt"]
        rows = {name: Rows.open(folder / name, check=check) for name in names}
        lines = open_array(folder / "lines", check=check).reshape(-1, 2)
        if {len(each) for each in rows.values()} != {len(lines)} or sum(map(len, spans)) != len(lines):
            raise ValueError(f"{folder}: the files do not hold the same number of pairs.")
        return cls(rows["src"], rows["tgt"], rows.get("src_text"), rows.get("tgt_text"), lines, spans)

    def __len__(self) -> int:
        return len(self.lines)

    def locate(self, index: int) -> str:
        """Name the files and the line of a pair."""
        span = next(span for span in self.spans if span.start <= index < span.stop)
        return pair_place(span.src, span.tgt, self.lines[index].tolist())

    def padded_lengths(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the source and target lengths of some pairs as a batch counts them: one special id each."""
        return self.src.lengths_of(indices) + 1, self.tgt.lengths_of(indices) + 1


@dataclass(frozen=True)
class PairRows:
    """Some encoded pairs in memory."""

    src: Rows
    tgt: Rows
    texts: list[Rows]  # of both sides, or none where text is not kept
    lines: NDArray[np.int64]  # (pairs, 2)


@dataclass(frozen=True)
class PairsState:
    """How far encoded pairs are written."""

    rows: list[RowsState]
    lines: ArrayState
    spans: list[Span]


class PairsWriter:
    """Write encoded pairs to a folder, a block at a time; states are as in `ArrayWriter`."""

    def __init__(
        self,
        folder: Path,
        src_vocab_size: int,
        tgt_vocab_size: int,
        *,
        with_text: bool,
        state: PairsState | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.with_text = with_text
        self._folder = folder
        types: dict[str, Any] = {"src": id_dtype(src_vocab_size), "tgt": id_dtype(tgt_vocab_size)}
        if with_text:
            types |= {"src_text": np.uint8, "tgt_text": np.uint8}
        states = [None] * len(types) if state is None else state.rows
        self._rows = [
            RowsWriter(folder / name, dtype, rows_state)
            for (name, dtype), rows_state in zip(types.items(), states, strict=True)
        ]
        self._lines = ArrayWriter(folder / "lines", np.int64, None if state is None else state.lines)
        self._spans: list[Span] = [] if state is None else list(state.spans)

    def __len__(self) -> int:
        return self._lines.size // 2

    def start_corpus(self, src: str, tgt: str) -> None:
        """Say where the pairs that follow come from."""
        self._spans.append(Span(src, tgt, len(self), len(self)))

    def extend(self, pairs: PairRows) -> None:
        """Append pairs, with their text if the writer was made for it."""
        for writer, rows in zip(self._rows, [pairs.src, pairs.tgt, *pairs.texts], strict=True):
            writer.extend(rows)
        self._lines.append(pairs.lines.reshape(-1))
        self._spans[-1] = replace(self._spans[-1], stop=len(self))

    def save(self) -> PairsState:
        return PairsState([writer.save() for writer in self._rows], self._lines.save(), list(self._spans))

    def close(self) -> None:
        """Finish the files and describe them."""
        for rows in self._rows:
            rows.close()
        self._lines.close()
        description = {"spans": [asdict(span) for span in self._spans], "with_text": self.with_text}
        write_sealed(self._folder / "pairs.json", description)
