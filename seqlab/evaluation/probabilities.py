"""Log loss of classes and of labels, from predicted probabilities.

A line is a JSON object with a probability for each class or label, or with such an object under `values`, as `seqlab
predict --json` writes it.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from seqlab.base.parsing import parse_json

from .score import LineStatistics, References, Score

MIN_PROBABILITY = float(np.finfo(np.float64).eps)
"""Lower bound of a probability, which keeps the mean finite (as in scikit-learn)."""
MAX_SUM_ERROR = 1e-3
"""Accepted deviation of the sum of the probabilities of all classes from 1."""


def log_loss(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the log loss of a class, in nats: the mean of -log p(true class). A missing class has p = 0.

    Raises:
        ValueError: a line is not an object of probabilities, or these do not sum to 1; there are several references.
    """

    def losses(probs: Mapping[str, float], right: str, where: str) -> list[float]:
        if abs(sum(probs.values()) - 1) > MAX_SUM_ERROR:
            raise ValueError(
                f"{where}: the probabilities sum to {sum(probs.values()):g}, not to 1; for labels use `label_log_loss`."
            )
        return [_nll(probs.get(right, 0.0))]

    return _mean("log_loss", "class", hypotheses, references, losses)


def label_log_loss(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the log loss of any number of labels, in nats: the mean binary cross entropy over lines and labels.

    A reference lists the labels of its line, separated by whitespace.

    Raises:
        ValueError: a line is not an object of probabilities, or has other labels than the first line; there are several
            references.
    """
    labels: set[str] = set()

    def losses(probs: Mapping[str, float], right: str, where: str) -> list[float]:
        labels.update(probs if not labels else ())
        if labels != probs.keys():
            others = ", ".join(sorted(labels ^ probs.keys()))
            raise ValueError(f"{where} must have the labels of the first line, but they differ in {others}.")
        true = set(right.split())
        unknown = [_nll(0.0)] * len(true - labels)
        return [_nll(p if label in true else 1 - p) for label, p in probs.items()] + unknown

    return _mean("label_log_loss", "label", hypotheses, references, losses)


def _nll(p: float) -> float:
    return -math.log(max(p, MIN_PROBABILITY))


def _mean(
    name: str,
    unit: str,
    hypotheses: Sequence[str],
    references: References,
    losses: Callable[[Mapping[str, float], str, str], list[float]],
) -> LineStatistics:
    """Average the losses of all lines; `losses` is a function of probabilities, reference and location of the line."""
    if len(references) > 1:
        raise ValueError(f"`{name}` compares with one reference, but there are {len(references)}: name one.")
    rows = []
    for number, (line, right) in enumerate(zip(hypotheses, references[0], strict=True), start=1):
        where = f"Line {number} of the hypotheses"
        probs = _probabilities(line, where)
        found = [] if probs is None else losses(probs, str(right).strip(), where)
        rows.append((sum(found), len(found)))

    def score_of_sum(summed: np.ndarray) -> Score:
        total, count = summed.tolist()
        return Score(name, total / max(1, count), f"nrefs:1|unit:{unit}|nats", False, {"count": int(count)}, 4)

    return LineStatistics(np.array(rows), score_of_sum)


def _probabilities(line: str, where: str) -> dict[str, float] | None:
    """Parse a line; None if there is no prediction (`"values": null`), as before a window of a series is full."""
    try:
        found = parse_json(line)
    except ValueError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("values", 0), dict | None):
        found = found["values"]
        if found is None:
            return None
    is_right = isinstance(found, dict) and all(isinstance(p, int | float) and 0 <= p <= 1 for p in found.values())
    if not is_right or not found:
        raise ValueError(
            f"{where} must hold the probability of each class or label, as `seqlab predict --json` writes them, but is "
            f"{line:.40}."
        )
    return found
