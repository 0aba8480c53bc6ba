"""Text as the sampler sees it: the ids of every line with the end of line behind them, in memory maps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.rows import ArrayWriter, Rows, RowsWriter, id_dtype, open_array
from seqlab.durable import read_sealed, write_sealed


@dataclass(frozen=True)
class TextSpan:
    """The part of the lines that came from one corpus."""

    name: str  # path spec, for messages
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class EncodedText:
    """Kept lines in file order, corpus after corpus; the ids of all of them lie end to end in `rows.values`."""

    rows: Rows  # ids of a line, eos behind them
    lines: NDArray[np.int64]  # (lines,): the line or record in its file, from 1
    spans: list[TextSpan]

    @classmethod
    def open(cls, folder: Path, *, check: bool = False) -> EncodedText:
        """Map a folder that `TextWriter` wrote.

        Raises:
            ValueError: a file is missing, incomplete or damaged.
        """
        try:
            description = read_sealed(folder / "text.json")
            spans = [TextSpan(**span) for span in description["spans"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder}: is not a folder of encoded text ({error}).") from error
        rows, lines = Rows.open(folder / "rows", check=check), open_array(folder / "lines", check=check)
        if not len(rows) == len(lines) == sum(map(len, spans)):
            raise ValueError(f"{folder}: the files do not hold the same number of lines.")
        return cls(rows, lines, spans)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def num_tokens(self) -> int:
        """Return the tokens of all lines, ends of line counted."""
        return len(self.rows.values)

    def locate(self, token: int) -> str:
        """Name the file and the line of a token, counted from 0 over all lines."""
        line = int(np.searchsorted(self.rows.offsets, token, "right")) - 1
        span = next(span for span in self.spans if span.start <= line < span.stop)
        return f"{span.name}, line {self.lines[line]}"


class TextWriter:
    """Write encoded lines to a folder, a block at a time."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rows = RowsWriter(folder / "rows", id_dtype(vocab_size))
        self._lines = ArrayWriter(folder / "lines", np.int64)
        self._spans: list[TextSpan] = []

    def start_corpus(self, name: str) -> None:
        """Say where the lines that follow come from."""
        self._spans.append(TextSpan(name, self._lines.size, self._lines.size))

    def extend(self, rows: Rows, lines: NDArray[np.int64]) -> None:
        """Append lines, with their numbers in the file."""
        self._rows.extend(rows)
        self._lines.append(lines)
        self._spans[-1] = replace(self._spans[-1], stop=self._lines.size)

    def close(self) -> None:
        """Finish the files and describe them."""
        self._rows.close()
        self._lines.close()
        description: dict[str, Any] = {"spans": [asdict(span) for span in self._spans]}
        write_sealed(self._folder / "text.json", description)


def with_end(ids: NDArray[Any], lengths: NDArray[np.int64], eos_id: int) -> Rows:
    """Put eos behind each of the rows that lie end to end in `ids`."""
    ends = np.cumsum(lengths)
    return Rows.from_flat(np.insert(ids, ends, eos_id), lengths + 1)
