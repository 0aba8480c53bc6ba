"""Scores with their signatures, the line statistics they are computed from, and references."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

References = Sequence[Sequence[str | None]]
"""One list of lines for each reference file; None for a missing reference."""


@dataclass(frozen=True)
class Score:
    """Value of a metric with the signature that makes it reproducible."""

    name: str
    value: float
    signature: str
    """Definition of the metric: number of references, case, tokenization, version, as sacrebleu prints them."""
    higher_is_better: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further figures, such as BLEU's precisions and lengths; values that JSON can represent."""
    decimals: int = 2
    """Number of printed decimals."""

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
    """Sparse matrix of counts (lines, statistics), such as those of many labels."""

    lines: np.ndarray
    """(counts,) int64: row of each count of 1."""
    statistics: np.ndarray
    """(counts,) int64: column of each count of 1."""
    shape: tuple[int, int]
    """(lines, statistics)"""

    def __len__(self) -> int:
        return self.shape[0]

    def sum_of(self, lines: np.ndarray) -> np.ndarray:
        """Sum the rows of these indices (n,), with repetitions: (statistics,)."""
        times = np.bincount(lines, minlength=self.shape[0])
        return np.bincount(self.statistics, times[self.lines], self.shape[1]).astype(np.int64)


@dataclass(frozen=True)
class LineStatistics:
    """Statistics of each line that a corpus metric sums before it computes a score.

    A corpus score is not a mean of line scores (BLEU's brevity penalty, TER's total length): to resample lines,
    resample these rows and score their sum.
    """

    rows: np.ndarray | SparseRows
    """(lines, statistics)"""
    score_of_sum: Callable[[np.ndarray], Score]
    """Function of the sum of some rows (statistics,) that returns the score of their lines."""

    def score(self) -> Score:
        """Return the score of all lines."""
        return self.score_of(np.arange(len(self.rows)))

    def score_of(self, lines: np.ndarray) -> Score:
        """Return the score of the lines of these indices (n,), with repetitions."""
        rows = self.rows
        return self.score_of_sum(rows.sum_of(lines) if isinstance(rows, SparseRows) else rows[lines].sum(axis=0))


Metric = Callable[[Sequence[str], References], LineStatistics]
"""(hypotheses, references) -> statistics; called with equal numbers of lines, at least 1."""


def check_line_counts(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Check that hypotheses and references have equally many lines, at least one.

    Raises:
        ValueError: `references` is not one list of lines for each reference file, the counts differ (the message
            names both), or there are no lines.
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
    """Replace the empty lines of all lists but the first by None: lines may have different numbers of references."""
    first, *further = references
    return [first, *([line if line.strip() else None for line in lines] for lines in further)]


def num_references(references: References) -> str:
    """Return the number of references of the lines for a signature; `var` if it differs, as in sacrebleu."""
    counts = {len(of_line) - of_line.count(None) for of_line in zip(*references, strict=True)}
    return str(counts.pop()) if len(counts) == 1 else "var"


def _rounded(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "/".join(map(_rounded, value)) if isinstance(value, list | tuple) else str(value)
