"""A score with its signature, and the line statistics that it comes from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

References = Sequence[Sequence[str | None]]
"""One list of lines for each reference file; None where a line has no such reference."""


@dataclass(frozen=True)
class Score:
    """One number and what is needed to compute it again."""

    name: str
    value: float
    signature: str
    """the definition: number of references, case, tokenisation, version, as sacrebleu prints them"""
    higher_is_better: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    """the counts behind the value, e.g. BLEU's precisions and lengths; only what JSON can hold"""
    decimals: int = 2
    """in print"""

    def as_line(self) -> str:
        """Render as `BLEU|nrefs:1|case:mixed|... = 38.02 (brevity_penalty = 1.0, ...)`."""
        details = ", ".join(f"{name} = {_rounded(value)}" for name, value in self.extra.items())
        return f"{self.name}|{self.signature} = {self.value:.{self.decimals}f}" + (f" ({details})" if details else "")

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with the value unrounded."""
        return {
            "name": self.name,
            "value": self.value,
            "signature": self.signature,
            "higher_is_better": self.higher_is_better,
            **self.extra,
        }


@dataclass(frozen=True)
class SparseRows:
    """Rows of counts that are nearly all 0, as those of each of many labels."""

    lines: np.ndarray
    """(counted,) int64: the row that each thing is counted in"""
    statistics: np.ndarray
    """(counted,) int64: and the column"""
    shape: tuple[int, int]
    """(lines, statistics)"""

    def __len__(self) -> int:
        return self.shape[0]

    def sum_of(self, lines: np.ndarray) -> np.ndarray:
        """Sum rows (n,), each as often as it is named: (statistics,)."""
        times = np.bincount(lines, minlength=self.shape[0])
        return np.bincount(self.statistics, times[self.lines], self.shape[1]).astype(np.int64)


@dataclass(frozen=True)
class LineStatistics:
    """What a corpus metric sums over the lines before it becomes a score.

    A corpus score is not a mean of line scores (BLEU's brevity penalty, TER's total length), so whoever resamples
    lines resamples these rows and scores their sum.
    """

    rows: np.ndarray | SparseRows
    """(lines, statistics)"""
    score_of_sum: Callable[[np.ndarray], Score]
    """the sum of some rows (statistics,) -> the score of those lines"""

    def score(self) -> Score:
        """Return the score of all lines."""
        return self.score_of(np.arange(len(self.rows)))

    def score_of(self, lines: np.ndarray) -> Score:
        """Return the score of some lines (n,), each as often as it is named."""
        rows = self.rows
        return self.score_of_sum(rows.sum_of(lines) if isinstance(rows, SparseRows) else rows[lines].sum(axis=0))


Metric = Callable[[Sequence[str], References], LineStatistics]
"""(hypotheses, references) -> statistics; counts are equal and not 0 when a metric is called"""


def check_line_counts(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse what cannot be scored.

    Raises:
        ValueError: `references` is not one list of lines for each reference file, the counts differ (the message
            names both), or there is no line.
    """
    if isinstance(references, str) or not references or any(isinstance(lines, str) for lines in references):
        raise ValueError("`references` must be one list of lines for each reference file: [lines], not lines.")
    for number, lines in enumerate(references, start=1):
        if len(lines) != len(hypotheses):
            which = f" in reference {number} of {len(references)}" if len(references) > 1 else ""
            raise ValueError(
                f"Hypotheses and references must have equally many lines, but there are {len(hypotheses)} hypotheses "
                f"and {len(lines)} references{which}."
            )
    if not hypotheses:
        raise ValueError("There must be at least 1 line to score, but there are 0 hypotheses and 0 references.")


def without_empty_references(references: Sequence[Sequence[str]]) -> References:
    """Take the empty lines of all files but the first for missing, so that not all lines need equally many."""
    first, *further = references
    return [first, *([line if line.strip() else None for line in lines] for lines in further)]


def num_references(references: References) -> str:
    """Return how many references the lines have as sacrebleu's signatures say it: `var` where some have more."""
    counts = {len(of_line) - of_line.count(None) for of_line in zip(*references, strict=True)}
    return str(counts.pop()) if len(counts) == 1 else "var"


def _rounded(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "/".join(map(_rounded, value)) if isinstance(value, list | tuple) else str(value)
