"""Bootstrap resampling of lines: the interval of a score, and a paired test of a system against a baseline.

An interval is the middle 95% of the scores of resampled test sets, as Bisani and Ney 2004 give it for word error rates
("Bootstrap Estimates for Confidence Intervals in ASR Performance Evaluation", ICASSP). Comparisons follow Koehn 2004,
"Statistical Significance Tests for Machine Translation Evaluation", W04-3250. The resamples are those of sacrebleu's
`--paired-bs` under the same seed. The p-value is not: sacrebleu takes absolute differences before it centres them,
which tests one side only where all resamples agree, and calls a system significantly different from itself
(p = 1/1001). Here the test is two-sided: Efron and Tibshirani 1993, section 16.4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import check_metric_names, line_statistics
from .score import LineStatistics, Score, check_line_counts

SEED = 12345
"""sacrebleu's default"""
NUM_SAMPLES = 1_000


@dataclass(frozen=True)
class Interval:
    """A score, and the middle 95% of its values over resamples of the lines."""

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
    """Return the 95% percentile interval of one system's score: `bootstrap_interval(METRICS["wer"](lines, [truth]))`.

    Lines are drawn as if they were independent. Lines of one speaker or document are not: for new ones, the interval
    is too narrow.

    Raises:
        ValueError: `num_samples` is below 1, or there are no lines.
    """
    _check_num_samples(num_samples)
    if not len(statistics.rows):
        raise ValueError("There must be at least 1 line to resampled_scores, but there are 0.")
    low, high = np.percentile(resampled_scores([statistics], num_samples, seed)[0], [2.5, 97.5])
    return Interval(statistics.score(), float(low), float(high), num_samples, seed)


@dataclass(frozen=True)
class Comparison:
    """A system's score beside a baseline's, and how sure the difference is."""

    system: Score
    baseline: Score
    p_value: float
    """how often resampling alone would give a difference at least this large, in either direction"""
    interval: tuple[float, float]
    """the middle 95% of the differences over the resamples"""
    num_samples: int
    seed: int

    @property
    def difference(self) -> float:
        """The system's value minus the baseline's."""
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
    """Score a system and a baseline and test their difference, by metric.

    Args:
        hypotheses: the system's lines.
        baseline: the baseline's lines.
        references: one list of lines for each reference file; an empty line behind the first is no reference.
        metrics: names from `METRICS`.
        num_samples: how many times the test set is resampled; a p-value is at least 1 / (num_samples + 1).
        seed: of the resampling.

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
    """Test the difference of two systems as `compare` does, from what one metric counted in each of the same lines.

    Raises:
        ValueError: the systems have not equally many lines, or `num_samples` is below 1.
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
    # Resamples scatter around the observed difference as the observed one does around the true: centred, they show
    # what chance alone does. Rounding must not decide a tie, hence the margin.
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
    """Return the values (systems, num_samples) over resamples of the lines, the same lines for every system."""
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
