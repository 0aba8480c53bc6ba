"""Feature vectors of rows of token ids, numbers or labels, for simple models of large data in bounded memory.

Each class holds rows and computes the features of a range of them on demand.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
MAX_TOKENS = 1024
"""Number of distinct tokens that bags of tokens count: the most frequent ones."""
MIN_COUNT = 3
"""Number of rows below which a token is too rare to learn anything about it."""
NUM_RANDOM_FEATURES = 256
SAMPLE_ROWS = 50_000
"""Number of rows that statistics of features are computed from."""


class RowFeatures(Protocol):
    """Rows with feature vectors of a fixed size, the most frequent features first."""

    def __len__(self) -> int: ...

    def block(self, start: int, stop: int) -> Matrix:
        """Compute the features of a range of rows: (stop - start, D)."""
        ...


def sample_indices(count: int, size: int) -> NDArray[np.int64]:
    """Return at most `size` of `count` indices at equal distances."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, size)).astype(np.int64))


class BagsOfTokens:
    """Rows of token ids as weighted bags: of each frequent token whether a row has it, scaled to unit length."""

    def __init__(self, rows: Sequence[NDArray[np.integer[Any]]], max_tokens: int = MAX_TOKENS) -> None:
        self.rows = rows
        sample = [np.unique(rows[index]) for index in sample_indices(len(rows), SAMPLE_ROWS)]
        tokens, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *sample]), return_counts=True)
        tokens, counts = tokens[counts >= MIN_COUNT], counts[counts >= MIN_COUNT]
        order = np.argsort(-counts, kind="stable")[:max_tokens]
        self.weights = np.log1p(len(sample) / counts[order]).astype(np.float32)
        self.columns = np.argsort(tokens[order])
        """Column of each of `tokens`: the most frequent token has the first."""
        self.tokens = tokens[order][self.columns]

    def __len__(self) -> int:
        return len(self.rows)

    def block(self, start: int, stop: int) -> Matrix:
        """Compute the features of a range of rows: (stop - start, number of tokens)."""
        features = np.zeros((stop - start, max(1, len(self.tokens))), np.float32)
        rows = [np.asarray(self.rows[index]) for index in range(start, stop)]
        numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        if len(numbers) and len(self.tokens):
            ids = np.concatenate(rows)
            indices = np.minimum(np.searchsorted(self.tokens, ids), len(self.tokens) - 1)
            is_known = self.tokens[indices] == ids
            columns = self.columns[indices[is_known]]
            features[numbers[is_known], columns] = self.weights[columns]
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        return np.divide(features, norms, out=features, where=norms > 0)


class Standardized:
    """Numbers of rows, (N, D), with mean 0 and variance 1, and random Fourier features of them.

    A linear model of the random features approximates a Gaussian kernel (Rahimi and Recht 2007).
    """

    def __init__(self, values: NDArray[Any], num_random: int = NUM_RANDOM_FEATURES) -> None:
        self.values = values.reshape(len(values), -1)
        sample = np.nan_to_num(self.values[sample_indices(len(values), SAMPLE_ROWS)].astype(np.float64))
        self.mean, std = sample.mean(axis=0), sample.std(axis=0)
        self.scale = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0)
        rng = np.random.default_rng(0)
        num_varying = max(1, int((std > 0).sum()))
        self.frequencies = rng.standard_normal((self.values.shape[1], num_random)) / np.sqrt(num_varying)
        self.phases = rng.uniform(0, 2 * np.pi, num_random)

    def __len__(self) -> int:
        return len(self.values)

    def block(self, start: int, stop: int) -> Matrix:
        """Compute the features of a range of rows: (stop - start, D + number of random features)."""
        values = (np.nan_to_num(self.values[start:stop].astype(np.float64)) - self.mean) * self.scale
        random = np.cos(values @ self.frequencies + self.phases)
        return np.concatenate([values, random], axis=1).astype(np.float32)


class OneHot:
    """Class numbers of rows, (N,), as indicators of the most frequent classes; a negative number is no class."""

    def __init__(self, labels: NDArray[np.integer[Any]], max_classes: int = MAX_TOKENS) -> None:
        self.labels = labels
        classes, counts = np.unique(labels[labels >= 0], return_counts=True)
        self.classes = classes[np.argsort(-counts, kind="stable")[:max_classes]]

    def __len__(self) -> int:
        return len(self.labels)

    def block(self, start: int, stop: int) -> Matrix:
        """Compute the indicators of a range of rows: (stop - start, number of classes)."""
        return (self.labels[start:stop, None] == self.classes).astype(np.float32)


def features_of_targets(targets: NDArray[Any]) -> RowFeatures:
    """Return the features of labels (integers or booleans, (N,)) or of numbers ((N,) or (N, D))."""
    if targets.ndim == 1 and targets.dtype.kind in "iub":
        return OneHot(targets.astype(np.int64))
    return Standardized(targets, num_random=0)
