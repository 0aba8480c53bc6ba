"""Check of pairs by the model of the run: whether it prefers the target of each source to the targets of other rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import DivisibleBatch, FrameBatch, Seq2SeqBatch
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.next_commands import inspect_command
from seqlab.diagnosis.workbench import Learner

NUM_ROWS, NUM_TARGETS = 160, 4
"""Number of sources, and of targets that are compared for each: its own and those of other rows."""
MIN_GROUP = 8
MIN_SHARE, MIN_ERRORS = 0.1, 3.0
"""Share of wrong targets that is reported if it exceeds this one by so many standard errors."""
SURE_ROWS = 0.4
"""Share of the sources whose own target must have a higher score than 99% of the targets of other rows."""
COMPARED = 0.75
"""Quantile of the scores of other targets below which wrong targets are counted."""
MAX_BETWEEN = 0.15
"""Share of the right targets that may have scores as low as those of other targets if wrong targets are a likely cause:
without such a gap, the model may simply be unsure of some sources."""


def check_targets_of_sources(lab: Experiments) -> Iterator[Finding]:
    """Compare the losses of each source with its own target and with those of other rows."""
    for split, rows in (("validation", lab.valid_sample), ("training", lab.train_sample)):
        scores = target_scores(lab.trained, rows)
        share, error = estimate_wrong_targets(scores)
        if share - MIN_ERRORS * error > MIN_SHARE:
            confidence = 0.86 if share_between(scores, share) < MAX_BETWEEN else 0.6
            evidence = (
                f"{100 * share:.0f}% ± {100 * error:.0f}% of {len(scores)} {split} sources fit their own target no "
                "better than the targets of other rows, although the model recognizes the own targets of many others"
            )
            yield Finding("label_noise", evidence, confidence, inspect_command()(lab, "label_noise"))
            return


def recognizes_targets(lab: Experiments) -> bool:
    """Return whether the run tells the own targets of validation sources from others more often than by chance."""
    try:
        is_own = target_scores(lab.trained, lab.valid_sample).argmax(axis=1) == 0
    except LeftOut:
        return False
    chance = 1 / NUM_TARGETS
    return bool(is_own.mean() > chance + MIN_ERRORS * (chance * (1 - chance) / len(is_own)) ** 0.5)


def target_scores(learner: Learner, rows: Sequence[DivisibleBatch]) -> NDArray[np.float64]:
    """Return the log-probabilities (N, 4) of the own target of a source and of others, relative to other sources.

    The mean over the sources with which a target is compared is subtracted, so that short and frequent targets have no
    advantage (pointwise mutual information).
    """
    differences: list[NDArray[np.float64]] = []
    for batch in rows:
        count = len(batch.indices)
        if not isinstance(batch, Seq2SeqBatch | FrameBatch) or batch.tgt_in is None or batch.tgt_out is None:
            raise LeftOut("the rows are not pairs of a source and a sequence")
        if count < MIN_GROUP or sum(map(len, differences)) >= NUM_ROWS:
            continue
        paired = [_with_targets_of(batch, shift) for shift in range(NUM_TARGETS)]
        scores = np.stack([_row_scores(learner, rows) for rows in paired], axis=1)  # source i has target i + shift
        by_target = np.stack([np.roll(scores[:, shift], shift) for shift in range(NUM_TARGETS)], axis=1)
        means = by_target.mean(axis=1)
        differences.append(scores - np.stack([np.roll(means, -shift) for shift in range(NUM_TARGETS)], axis=1))
    if not differences:
        raise LeftOut("there are too few rows")
    return np.concatenate(differences)


def _with_targets_of(batch: Any, shift: int) -> Any:
    """Return a batch in which each source has the target of a later row."""
    targets = {name: getattr(batch, name).roll(-shift, 0) for name in ("tgt_in", "tgt_out")}
    return replace(batch, **targets)


def _row_scores(learner: Learner, batch: DivisibleBatch) -> NDArray[np.float64]:
    """Return the log-probability (B,) of each row."""
    return -learner.losses([batch.select(torch.tensor([row])) for row in range(len(batch.indices))]).totals


def estimate_wrong_targets(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Estimate the share of rows with the target of another source, and its standard error.

    Of such rows, the scores of the own targets are distributed as those of other targets. A model that
    recognizes the own targets of less than 40% of the sources says nothing: the share is 0.

    Args:
        scores: (N, K): score of the own target of each source, in the first column, and of the targets of other rows.
    """
    own, other_scores = scores[:, 0], scores[:, 1:]
    if np.quantile(own, 1 - SURE_ROWS) < np.quantile(other_scores, 0.99):
        return 0.0, 0.0
    among_others = float((own < np.quantile(other_scores, COMPARED)).mean())
    return among_others / COMPARED, (among_others * (1 - among_others) / len(own)) ** 0.5 / COMPARED


def share_between(scores: NDArray[np.float64], wrong_share: float) -> float:
    """Return the share of the right targets with scores as low as those of other targets, given that of wrong ones."""
    own, other_scores = scores[:, 0], scores[:, 1:]
    is_low = float((own < np.quantile(other_scores, 0.99)).mean())
    return max(0.0, is_low - 0.99 * wrong_share) / (1 - wrong_share)


QUESTIONS: Sequence[tuple[str, Any]] = (
    ("does each source fit its own target better than others?", check_targets_of_sources),
)
"""Text of each question -> function that yields findings."""
