"""Ridge regression in one pass over the rows, alone and in folds, and a conditional logit model of choices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqlab.diagnosis.row_features import Matrix, RowFeatures, sample_indices

Probabilities = NDArray[np.float64]
RIDGE = 1.0
"""Weight of the squared norm of a linear model, as a multiple of the mean variance of a feature times the rows."""
BLOCK_ROWS = 4096
MAX_BLOCKS = 20
"""Number of blocks, at equal distances, that a cross-fitted model is trained on."""
NO_FOLD = -1
OUTLIERS = 0.05
"""Share of rows that are assumed to have an arbitrary target, so that no row alone decides."""


@dataclass(frozen=True)
class LinearModel:
    """Prediction of target features from source features."""

    weights: Matrix  # (src D, tgt D), scaled by the precision of the target features
    src_mean: Matrix
    tgt_mean: Matrix

    def predict(self, src: Matrix) -> Matrix:
        """Compute the weighted predictions (N, tgt D) of the target features minus their means."""
        predictions: Matrix = ((src - self.src_mean) @ self.weights).astype(np.float32)
        return predictions


class Moments:
    """Sums of products of source and target features."""

    def __init__(self) -> None:
        self.count = 0
        self.src = self.tgt = self.src_src = self.src_tgt = self.tgt_squares = np.zeros(())

    def add(self, src: Matrix, tgt: Matrix) -> None:
        """Add rows."""
        self.count += len(src)
        self.src = self.src + src.sum(axis=0)
        self.tgt = self.tgt + tgt.sum(axis=0)
        self.tgt_squares = self.tgt_squares + (tgt**2).sum(axis=0)
        self.src_src = self.src_src + src.T @ src
        self.src_tgt = self.src_tgt + src.T @ tgt

    def __add__(self, other: "Moments") -> "Moments":
        total = Moments()
        for name in vars(total):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def fit(self, *, scaled: bool = True) -> LinearModel:
        """Fit the ridge regression of the targets; `scaled` divides each prediction by the variance of its target."""
        src_mean, tgt_mean = self.src / self.count, self.tgt / self.count
        covariance = self.src_src / self.count - np.outer(src_mean, src_mean)
        ridge = np.float32(RIDGE * np.trace(covariance) / len(covariance) + 1e-6)
        cross = self.src_tgt / self.count - np.outer(src_mean, tgt_mean)
        variance = self.tgt_squares / self.count - tgt_mean**2
        weights = np.linalg.solve(covariance + ridge * np.eye(len(covariance), dtype=np.float32), cross)
        if scaled:
            weights /= variance + variance.mean() + 1e-6
        return LinearModel(*(array.astype(np.float32) for array in (weights, src_mean, tgt_mean)))


def cross_fit_ridge(features: RowFeatures, targets: RowFeatures, folds: NDArray[np.int64]) -> Probabilities:
    """Predict the target features of each row by a ridge regression of the rows of other folds, (N, target D).

    Args:
        features: features of the rows.
        targets: features of their targets.
        folds: (N,): number of the fold of each row, from 0; rows with `NO_FOLD` have no target, and the prediction 0.
    """
    num_folds = int(folds.max(initial=0)) + 1
    moments = [Moments() for _ in range(num_folds)]
    starts = np.arange(0, len(folds), BLOCK_ROWS)
    for start in starts[sample_indices(len(starts), MAX_BLOCKS)].tolist():
        stop = min(len(folds), start + BLOCK_ROWS)
        inputs, outputs = features.block(start, stop), targets.block(start, stop)
        for fold in range(num_folds):
            is_in = folds[start:stop] == fold
            moments[fold].add(inputs[is_in], outputs[is_in])
    predictions = np.zeros((len(folds), targets.block(0, 1).shape[1]))
    for fold in range(num_folds):
        other_moments = sum((moment for number, moment in enumerate(moments) if number != fold), start=Moments())
        if not other_moments.count:
            continue
        model = other_moments.fit(scaled=False)
        for start in starts.tolist():
            rows = start + np.flatnonzero(folds[start : start + BLOCK_ROWS] == fold)
            if len(rows):
                block = features.block(start, min(len(folds), start + BLOCK_ROWS))
                predictions[rows] = model.predict(block[rows - start]) + model.tgt_mean
    return predictions


def fit_choice(
    scores: Probabilities, choices: NDArray[np.int64], num_steps: int = 20, outliers: float = OUTLIERS
) -> Probabilities:
    """Fit a conditional logit model of choices by Newton's method; return log-probabilities (N, K) of the candidates.

    Args:
        scores: (N, K, F): scores of each candidate.
        chosen: (N,): index of the candidate of each row.
        num_steps: maximum number of steps of Newton's method; a step that does not help is halved.
        outliers: share of the choices that are assumed to be arbitrary.
    """
    rows = np.arange(len(scores))
    scores_of_chosen = scores[rows, choices]  # (N, F)

    def log_likelihood(weights: Probabilities) -> float:
        return float(log_softmax(scores @ weights)[rows, choices].sum() - 0.5 * weights @ weights)

    weights, best = np.zeros(scores.shape[-1]), -np.inf
    step = weights
    for _ in range(num_steps):
        if (value := log_likelihood(weights + step)) <= best:
            step = step / 2
            continue
        weights, best = weights + step, value
        probs = np.exp(log_softmax(scores @ weights))
        mean = np.einsum("nk,nkf->nf", probs, scores)
        covariance = np.einsum("nk,nkf,nkg->fg", probs, scores, scores) - mean.T @ mean
        step = np.linalg.solve(covariance + np.eye(len(weights)), (scores_of_chosen - mean).sum(axis=0) - weights)
    log_probs = log_softmax(scores @ np.maximum(0.0, weights))
    if not outliers:
        return log_probs
    return np.logaddexp(np.log1p(-outliers) + log_probs, np.log(outliers / scores.shape[1]))


def log_softmax(scores: Probabilities) -> Probabilities:
    """Compute the logarithm of the softmax over the last dimension of (N, K)."""
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
