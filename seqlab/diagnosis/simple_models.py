"""Models by L-BFGS, softmax regression in folds, and the area under the ROC curve."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Features = NDArray[np.float32]
WEIGHT_DECAY = 1e-2
"""L2 penalty of a linear model, relative to the mean loss of standardized features."""
MAX_ITERATIONS = 60


@dataclass(frozen=True)
class FoldedScores:
    """Scores of rows by models that were trained on other rows."""

    log_probs: NDArray[np.float64]
    """(N, C) log-probabilities of the classes."""

    def of(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the log-probability (N,) of a label of each row."""
        return self.log_probs[np.arange(len(labels)), labels]

    def accuracy(self, labels: NDArray[np.int64]) -> float:
        """Return the share of rows whose most probable class is their label."""
        return float((self.log_probs.argmax(1) == labels).mean())


def standardize(features: Features) -> Tensor:
    """Return features (N, D) with a mean of 0 and a standard deviation of 1; constant ones become 0."""
    values = torch.from_numpy(np.nan_to_num(features, posinf=0, neginf=0)).float()
    return (values - values.mean(0)) / values.std(0).clamp_min(1e-6)


def fit_by_lbfgs(model: nn.Module, inputs: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
    """Minimize the mean loss of the outputs for inputs (N, D), with an L2 penalty of the matrices."""
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]

    def closure() -> Any:
        optimizer.zero_grad()
        penalized = loss(model(inputs)) + WEIGHT_DECAY * sum(matrix.square().sum() for matrix in matrices)
        penalized.backward()
        return penalized

    optimizer.step(closure)


def fit_linear(inputs: Tensor, labels: Tensor, num_classes: int) -> nn.Linear:
    """Fit a softmax regression with an L2 penalty."""
    model = zero_linear(inputs.size(1), num_classes)
    fit_by_lbfgs(model, inputs, lambda outputs: nn.functional.cross_entropy(outputs, labels))
    return model


def zero_linear(num_features: int, num_outputs: int) -> nn.Linear:
    """Return a linear model whose weights are 0."""
    model = nn.Linear(num_features, num_outputs)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def cross_fit(features: Features, labels: NDArray[np.int64], num_classes: int, num_folds: int = 4) -> FoldedScores:
    """Score each row by a linear model that was trained on the other folds."""
    inputs, targets = standardize(features), torch.from_numpy(labels)
    folds = np.random.default_rng(1).permutation(len(labels)) % num_folds
    scores = np.zeros((len(labels), num_classes))
    for fold in range(num_folds):
        is_held_out = torch.from_numpy(folds == fold)
        model = fit_linear(inputs[~is_held_out], targets[~is_held_out], num_classes)
        with torch.no_grad():
            scores[folds == fold] = model(inputs[is_held_out]).log_softmax(1).double().numpy()
    return FoldedScores(scores)


def area_under_roc(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive row has a higher score than a negative one."""
    order = np.argsort(np.concatenate([scores[is_positive], scores[~is_positive]]), kind="stable")
    values = np.concatenate([scores[is_positive], scores[~is_positive]])[order]
    ranks = np.empty(len(values))
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks[order] = ((np.cumsum(counts) - (counts - 1) / 2)[inverse]).astype(float)
    positives = int(is_positive.sum())
    negatives = len(values) - positives
    return float((ranks[:positives].sum() - positives * (positives + 1) / 2) / (positives * negatives))
