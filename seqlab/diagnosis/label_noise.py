"""Wrong labels: rows whose label contradicts a simple model of the other rows (confident learning, Northcutt 2021).

The model is a ridge regression of the labels, one against the others, in five folds. One weight turns its scores into
probabilities. A row is suspicious by the log-likelihood ratio of its most probable label to its given one.
"""

import numpy as np
from numpy.typing import NDArray

from seqlab.diagnosis.linear_models import NO_FOLD, Probabilities, cross_fit_ridge, fit_choice
from seqlab.diagnosis.row_features import OneHot, RowFeatures

NUM_FOLDS = 5
MIN_ROWS = 100
CHANCE_ROWS = 5.0
"""Number of rows that are reported by chance if the probabilities of the model are right."""
MIN_ODDS = 100.0
"""Smallest odds of another label that are reported."""


def min_ratio(num_rows: int) -> float:
    """Return the log-likelihood ratio from which on a label is reported."""
    return float(np.log(max(MIN_ODDS, num_rows / CHANCE_ROWS)))


def label_ratios(
    features: RowFeatures, labels: NDArray[np.int64], folds: NDArray[np.int64]
) -> tuple[Probabilities, NDArray[np.int64]]:
    """Compute the log-likelihood ratio of the best other label to the given one, and that label, (N,).

    Args:
        features: rows.
        labels: (N,): class numbers; a negative number is no class, which has the ratio negative infinity.
        folds: (N,): number of the fold of each row, from 0 to 4; equal rows should be in the same one.
    """
    targets = OneHot(labels)
    scores = cross_fit_ridge(features, targets, np.where(labels >= 0, folds, NO_FOLD))
    columns = np.full(int(labels.max(initial=0)) + 1, -1)
    columns[targets.classes] = np.arange(len(targets.classes))
    given_labels = np.where(labels >= 0, columns[labels], -1)
    known = np.flatnonzero(given_labels >= 0)
    ratios, best = np.full(len(labels), -np.inf), np.zeros(len(labels), np.int64)
    if len(known) < MIN_ROWS or len(targets.classes) < 2:
        return ratios, best
    spread = scores[known].std() or 1.0
    log_probs = fit_choice((scores[known] / spread)[:, :, None], given_labels[known], outliers=0.0)
    own = log_probs[np.arange(len(known)), given_labels[known]]
    log_probs[np.arange(len(known)), given_labels[known]] = -np.inf
    ratios[known] = log_probs.max(axis=1) - own
    best[known] = targets.classes[log_probs.argmax(axis=1)]
    return ratios, best
