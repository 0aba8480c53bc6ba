"""Scores with their signatures, the statistics of lines that they are computed from, and references."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqlab.base.number_text import short_text

References = Sequence[Sequence[str | None]]
"""One list of lines for each reference file; None for a missing reference."""


@dataclass(frozen=True)
class Score:
    """Value of a metric with the signature that makes it reproducible."""

    name: str
    value: float
    signature: str
    """Definition of the metric in sacrebleu's format: number of references, case, tokenization, version."""
    higher_is_better: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Additional figures, such as BLEU's precisions and lengths, as values that JSON can represent."""
    decimals: int = 2
    """Number of decimals to print."""

    def as_line(self) -> str:
        """Render as `BLEU|nrefs:1|case:mixed|... = 38.02 (brevity_penalty = 1.0, ...)`."""
        details = ", ".join(f"{name} = {_format_value(value)}" for name, value in self.extra.items())
        value = short_text(self.value, self.decimals)
        return f"{self.name}|{self.signature} = {value}" + (f" ({details})" if details else "")

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
    """Sparse matrix of counts (lines, statistics), for metrics with many statistics, such as counts of each label."""

    lines: np.ndarray
    """(counts,) int64: row index of each count of 1."""
    statistics: np.ndarray
    """(counts,) int64: column index of each count of 1."""
    shape: tuple[int, int]
    """(lines, statistics)"""

    def __len__(self) -> int:
        return self.shape[0]

    def sum_of(self, lines: np.ndarray) -> np.ndarray:
        """Sum the rows with these indices (n,), which may be repeated: (statistics,)."""
        times = np.bincount(lines, minlength=self.shape[0])
        return np.bincount(self.statistics, times[self.lines], self.shape[1]).astype(np.int64)


@dataclass(frozen=True)
class LineStatistics:
    """Statistics of each line, whose sum over lines determines the score of a corpus metric.

    A corpus score is not a mean of line scores (BLEU's brevity penalty, TER's total length). To score resampled lines,
    resample these rows and score their sum.
    """

    rows: np.ndarray | SparseRows
    """(lines, statistics)"""
    score_of_sum: Callable[[np.ndarray], Score]
    """Function that returns the score of some lines, from the sum of their rows (statistics,)."""

    def score(self) -> Score:
        """Return the score of all lines."""
        return self.score_of(np.arange(len(self.rows)))

    def score_of(self, lines: np.ndarray) -> Score:
        """Return the score of the lines with these indices (n,), which may be repeated."""
        rows = self.rows
        return self.score_of_sum(rows.sum_of(lines) if isinstance(rows, SparseRows) else rows[lines].sum(axis=0))


Metric = Callable[[Sequence[str], References], LineStatistics]
"""(hypotheses, references) -> statistics of each line; called with equally many lines, at least one."""


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
    """Replace empty lines by None in all lists except the first: lines may have different numbers of references."""
    first, *others = references
    return [first, *([line if line.strip() else None for line in lines] for lines in others)]


def num_references(references: References) -> str:
    """Return the number of references per line, for a signature; `var` if it differs between lines, as in sacrebleu."""
    counts = {len(line_refs) - line_refs.count(None) for line_refs in zip(*references, strict=True)}
    return str(counts.pop()) if len(counts) == 1 else "var"


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return short_text(value)
    return "/".join(map(_format_value, value)) if isinstance(value, list | tuple) else str(value)
