"""Registered metrics by name, and scores of a system by some of them."""

from collections.abc import Iterable, Sequence

from seqlab.base.nearest import nearest_hint
from seqlab.registry import Parts, broken_plugins_hint

from .score import LineStatistics, Score, check_line_counts, without_empty_references

METRICS = Parts("metric")
"""All registered metrics by name; each is a `Metric`."""


def evaluate(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], metrics: Iterable[str] = ("bleu",)
) -> dict[str, Score]:
    """Score a system's lines by each metric, in the given order.

    Args:
        hypotheses: the system's lines.
        references: one list of lines for each reference file; empty lines after the first list mean missing references.
        metrics: names from `METRICS`.

    Raises:
        ValueError: unequal line counts (the message names both), no lines, or an unknown metric.
    """
    check_line_counts(hypotheses, references)
    return {name: line_statistics(name, hypotheses, references).score() for name in check_metric_names(metrics)}


def check_metric_names(metrics: Iterable[str]) -> list[str]:
    """Check metric names and return them as a list.

    Raises:
        ValueError: a name is not in `METRICS`.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in METRICS:
            hint = "; separate names by spaces" if "," in name else nearest_hint(name.lower(), METRICS)
            raise ValueError(
                f"A metric must be one of {', '.join(METRICS)}, but is {name!r} instead{hint}.{broken_plugins_hint()}"
            )
    return names


def line_statistics(name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> LineStatistics:
    """Compute the statistics of each line for a metric."""
    statistics = METRICS[name](hypotheses, without_empty_references(references))
    if not isinstance(statistics, LineStatistics):
        kind = type(statistics).__name__
        raise ValueError(
            f"The metric `{name}` must return `seqlab.evaluation.LineStatistics`, but returned an object of "
            f"type {kind}."
        )
    return statistics
