"""Bootstrap resampling of lines: confidence intervals, and a paired test of a system against a baseline.

An interval is the middle 95% of the scores of resampled test sets (Bisani and Ney 2004, "Bootstrap Estimates for
Confidence Intervals in ASR Performance Evaluation", ICASSP). Comparisons follow Koehn 2004, "Statistical Significance
Tests for Machine Translation Evaluation", W04-3250. The resamples equal those of sacrebleu's `--paired-bs` with the
same seed, but the p-value differs. sacrebleu takes absolute differences before it centers them: the test is one-sided
if all resamples agree, and a system differs significantly from itself (p = 1/1001). Here the test is two-sided (Efron
and Tibshirani 1993, section 16.4).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import check_metric_names, line_statistics
from .score import LineStatistics, Score, check_line_counts

SEED = 12345
"""Default seed of the resampling, as in sacrebleu."""
NUM_SAMPLES = 1_000
"""Default number of resamples."""


@dataclass(frozen=True)
class Interval:
    """A score with its 95% confidence interval over resamples of the lines."""

    score: Score
    low: float
    high: float
    num_samples: int
    seed: int

    def as_line(self) -> str:
        """Render as `wer 95% interval = 11.20 to 13.50 (bootstrap over lines, 1000 samples, seed 12345)`."""
        form = f".{self.score.decimals}f"
        return (
            f"{self.score.name} 95% interval = {self.low:{form}} to {self.high:{form}} "
            f"(bootstrap over lines, {self.num_samples} samples, seed {self.seed})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with values unrounded."""
        return {"interval": [self.low, self.high], "num_samples": self.num_samples, "seed": self.seed}


def bootstrap_interval(statistics: LineStatistics, *, num_samples: int = NUM_SAMPLES, seed: int = SEED) -> Interval:
    """Compute the 95% confidence interval of a system's score: `bootstrap_interval(METRICS["wer"](lines, [truth]))`.

    Lines are resampled as if they were independent. Lines of the same speaker or document are not: for other speakers
    or documents the interval is too narrow.

    Raises:
        ValueError: `num_samples` is below 1, or there are no lines.
    """
    _check_num_samples(num_samples)
    if not len(statistics.rows):
        raise ValueError("There must be at least 1 line to resample, but there are 0.")
    low, high = np.percentile(resampled_scores([statistics], num_samples, seed)[0], [2.5, 97.5])
    return Interval(statistics.score(), float(low), float(high), num_samples, seed)


@dataclass(frozen=True)
class Comparison:
    """Scores of a system and of a baseline, with the significance of their difference."""

    system: Score
    baseline: Score
    p_value: float
    """Probability of a difference at least as large, in either direction, by chance."""
    interval: tuple[float, float]
    """Middle 95% of the differences over the resamples."""
    num_samples: int
    seed: int

    @property
    def difference(self) -> float:
        """Score of the system minus that of the baseline."""
        return self.system.value - self.baseline.value

    def as_lines(self) -> list[str]:
        """Render as three lines: the baseline, the system, the difference."""
        low, high = self.interval
        form = f"+.{self.system.decimals}f"
        return [
            f"baseline: {self.baseline.as_line()}",
            f"system:   {self.system.as_line()}",
            f"{self.system.name} difference = {self.difference:{form}} (95% interval {low:{form}} to {high:{form}}, "
            f"p = {self.p_value:.4f}, paired bootstrap, {self.num_samples} samples, seed {self.seed})",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with values unrounded."""
        return {
            "system": self.system.as_dict(),
            "baseline": self.baseline.as_dict(),
            "difference": self.difference,
            "p_value": self.p_value,
            "interval": list(self.interval),
            "num_samples": self.num_samples,
            "seed": self.seed,
        }


def compare(
    hypotheses: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Iterable[str] = ("bleu",),
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
) -> dict[str, Comparison]:
    """Score a system and a baseline by each metric, and test the significance of their difference.

    Args:
        hypotheses: the system's lines.
        baseline: the baseline's lines.
        references: one list of lines for each reference file; empty lines after the first list mean missing references.
        metrics: names from `METRICS`.
        num_samples: number of resamples of the test set; a p-value is at least 1 / (num_samples + 1).
        seed: seed of the resampling.

    Raises:
        ValueError: unequal line counts (the message names both), no lines, or an unknown metric.
    """
    _check_num_samples(num_samples)
    names = check_metric_names(metrics)
    check_line_counts(hypotheses, references)
    if len(baseline) != len(hypotheses):
        raise ValueError(
            "System and baseline must have equally many lines, but there are "
            f"{len(hypotheses)} hypotheses and {len(baseline)} baseline lines."
        )
    return {
        name: compare_statistics(
            line_statistics(name, hypotheses, references),
            line_statistics(name, baseline, references),
            num_samples=num_samples,
            seed=seed,
        )
        for name in names
    }


def compare_statistics(
    system: LineStatistics, baseline: LineStatistics, *, num_samples: int = NUM_SAMPLES, seed: int = SEED
) -> Comparison:
    """Test the difference of two systems as `compare` does, from a metric's statistics of the same lines.

    Raises:
        ValueError: the systems have different numbers of lines, or `num_samples` is below 1.
    """
    _check_num_samples(num_samples)
    if len(system.rows) != len(baseline.rows):
        raise ValueError(
            "System and baseline must have equally many lines, but there are "
            f"{len(system.rows)} and {len(baseline.rows)}."
        )
    system_values, baseline_values = resampled_scores([system, baseline], num_samples, seed)
    sampled = system_values - baseline_values
    difference = system.score().value - baseline.score().value
    # Resampled differences vary around the observed difference as it varies around the true one. Centered at 0, they
    # are the distribution under the null hypothesis. The margin of 1e-9 prevents that rounding errors decide ties.
    as_extreme = np.abs(sampled - difference) >= abs(difference) - 1e-9
    low, high = np.percentile(sampled, [2.5, 97.5])
    return Comparison(
        system=system.score(),
        baseline=baseline.score(),
        p_value=float((as_extreme.sum() + 1) / (num_samples + 1)),
        interval=(float(low), float(high)),
        num_samples=num_samples,
        seed=seed,
    )


def resampled_scores(systems: Sequence[LineStatistics], num_samples: int, seed: int) -> np.ndarray:
    """Score resamples of the lines, with the same lines for all systems: (systems, num_samples)."""
    generator = np.random.default_rng(seed)
    num_lines = len(systems[0].rows)
    values = np.empty((len(systems), num_samples))
    for sample in range(num_samples):
        lines = generator.choice(num_lines, size=num_lines, replace=True)
        for index, system in enumerate(systems):
            values[index, sample] = system.score_of(lines).value
    return values


def _check_num_samples(num_samples: int) -> None:
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be at least 1, but is {num_samples} instead.")
