"""Findings of the inspection of data: kinds, the rows that each kind names, and what was left out."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS: dict[str, str] = {
    "encoding": "not UTF-8",
    "empty": "an empty source, target or line",
    "shift": "targets of other sources: a line is missing or too much",
    "swapped": "source and target are exchanged",
    "language": "another language than most lines of the file",
    "mojibake": "UTF-8 that was read as Windows-1252 or Latin-1",
    "character": "a replacement or invisible character, or an HTML entity",
    "length_ratio": "lengths of source and target that do not fit each other",
    "label_noise": "a label that contradicts a simple model of the other rows",
    "label_conflict": "the same input with another label",
    "leak": "a training row that is also a validation or test row",
    "near_leak": "a training row that is nearly equal to a validation or test row",
    "duplicate": "equal to an earlier row",
    "near_duplicate": "nearly equal to an earlier row",
}
"""Kinds of findings, in the order of the report: the most harmful first."""


def check_kinds(kinds: Collection[str]) -> Collection[str]:
    """Return kinds of findings; raise ValueError for one that does not exist."""
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"There is no kind of finding {kind!r}: choose from {', '.join(KINDS)}.")
    return kinds


@dataclass(frozen=True)
class Hits:
    """Rows of one split with a finding of one kind."""

    kind: str
    split: str
    rows: NDArray[np.int64]
    """(n,): indices of the rows in the split."""
    scores: NDArray[np.float64]
    """(n,): how clear each finding is; the scale depends on the kind."""
    note: Callable[[int], str]
    """Function that explains the finding, given its number from 0 to n - 1."""

    @classmethod
    def of_mask(
        cls, kind: str, split: str, mask: NDArray[np.bool_], scores: NDArray[Any], note: Callable[[int], str]
    ) -> "Hits":
        """Make the hits of the rows of a mask (N,); `scores` are (N,), and `note` takes the index of a row."""
        rows = np.flatnonzero(mask)
        return cls(kind, split, rows, scores[rows].astype(np.float64), lambda number: note(int(rows[number])))

    @classmethod
    def of_notes(cls, kind: str, split: str, notes: Iterable[tuple[int, float, str]]) -> "Hits":
        """Make hits of rows, scores and notes."""
        entries = list(notes)
        rows = np.array([row for row, _, _ in entries], np.int64)
        return cls(kind, split, rows, np.array([score for _, score, _ in entries]), lambda number: entries[number][2])

    def __len__(self) -> int:
        return len(self.rows)

    def clearest(self, count: int) -> list[int]:
        """Return the numbers of the clearest findings, at most `count`, the clearest first."""
        return np.argsort(-self.scores, kind="stable")[:count].tolist()


@dataclass
class Findings:
    """Findings by kind, and the kinds that were left out, with the reason."""

    hits: list[Hits] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, hits: Hits) -> None:
        """Add hits, unless there are none."""
        if len(hits):
            self.hits.append(hits)

    def count(self, kind: str) -> int:
        """Return the number of findings of a kind over all splits."""
        return sum(len(hit) for hit in self.hits if hit.kind == kind)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the distinct rows of a split with a finding, sorted."""
        return np.unique(np.concatenate([np.zeros(0, np.int64), *(h.rows for h in self.hits if h.split == split)]))
