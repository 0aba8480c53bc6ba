"""Log loss of classes and of labels, from predicted probabilities.

A line is a JSON object of probabilities by class or label, or an object with such probabilities under `values`, as
`seqlab predict --json` writes them.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from seqlab.base.parsing import parse_json

from .score import LineStatistics, References, Score

MIN_PROBABILITY = float(np.finfo(np.float64).eps)
"""Lower bound of probabilities, so that the mean is finite (as in scikit-learn)."""
MAX_SUM_ERROR = 1e-3
"""Maximum accepted difference between 1 and the sum of the probabilities of all classes."""


def log_loss(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the log loss of classes, in nats: the mean of -log p(true class), with p = 0 for a missing class.

    Raises:
        ValueError: a line is not an object of probabilities, or these do not sum to 1; there are several references.
    """

    def losses(probs: Mapping[str, float], reference: str, location: str) -> list[float]:
        if abs(sum(probs.values()) - 1) > MAX_SUM_ERROR:
            raise ValueError(
                f"{location}: the probabilities sum to {sum(probs.values()):g}, not to 1; for labels use "
                "`label_log_loss`."
            )
        return [_nll(probs.get(reference, 0.0))]

    return _mean("log_loss", "class", hypotheses, references, losses)


def label_log_loss(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the log loss of sets of labels, in nats: the mean binary cross entropy over lines and labels.

    A reference lists the labels of its line, separated by whitespace.

    Raises:
        ValueError: a line is not an object of probabilities, or has other labels than the first line; there are several
            references.
    """
    labels: set[str] = set()

    def losses(probs: Mapping[str, float], reference: str, location: str) -> list[float]:
        labels.update(probs if not labels else ())
        if labels != probs.keys():
            unshared = ", ".join(sorted(labels ^ probs.keys()))
            raise ValueError(f"{location} must have the labels of the first line, but they differ in {unshared}.")
        true = set(reference.split())
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
    """Average the losses of all lines; `losses` maps a line's probabilities, reference and location to its losses."""
    if len(references) > 1:
        raise ValueError(f"`{name}` compares with one reference, but there are {len(references)}: name one.")
    rows = []
    for number, (line, reference) in enumerate(zip(hypotheses, references[0], strict=True), start=1):
        location = f"Line {number} of the hypotheses"
        probs = _parse_probabilities(line, location)
        line_losses = [] if probs is None else losses(probs, str(reference).strip(), location)
        rows.append((sum(line_losses), len(line_losses)))

    def score_of_sum(summed: np.ndarray) -> Score:
        total, count = summed.tolist()
        return Score(name, total / max(1, count), f"nrefs:1|unit:{unit}|nats", False, {"count": int(count)}, 4)

    return LineStatistics(np.array(rows), score_of_sum)


def _parse_probabilities(line: str, location: str) -> dict[str, float] | None:
    """Parse a line; None if it has no prediction (`"values": null`), as before the first full window of a series."""
    try:
        probs = parse_json(line)
    except ValueError:
        probs = None
    if isinstance(probs, dict) and isinstance(probs.get("values", 0), dict | None):
        probs = probs["values"]
        if probs is None:
            return None
    is_valid = isinstance(probs, dict) and all(isinstance(p, int | float) and 0 <= p <= 1 for p in probs.values())
    if not is_valid or not probs:
        raise ValueError(
            f"{location} must hold the probability of each class or label, as `seqlab predict --json` writes them, but "
            f"is {line:.40}."
        )
    return probs
