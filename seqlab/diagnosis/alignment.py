"""Detection of sources and targets that are shifted against each other from some row on.

A line that is missing in one of two parallel files, or a column that was sorted alone, pairs each later source with a
wrong target. For each row, a linear model predicts the features of the target from those of the source. It is trained
on other rows (two folds of alternating blocks). A conditional logit model turns the agreement of the prediction with
the targets at the offsets -5 to 5, and the difference of the lengths, into a probability of each offset. The most
probable sequence of offsets follows by dynamic programming (Viterbi), in which each change of the offset has a cost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.diagnosis.linear_models import LinearModel, Moments, Probabilities, fit_choice
from seqlab.diagnosis.row_features import BagsOfTokens, Matrix, RowFeatures

OFFSETS = np.arange(-5, 6)
"""Offsets of the target of a row that are compared."""
UNSHIFTED = len(OFFSETS) // 2
"""Index of the offset 0."""
NUM_CANDIDATES = len(OFFSETS)
MIN_ROWS = 40
"""Number of rows below which nothing is compared."""
FOLD_ROWS = 32
"""Number of neighboring rows of a fold: even blocks are predicted by the model of the odd ones, and vice versa."""
CHUNK_ROWS = 4096
MAX_TRAINING_CHUNKS = 8
"""Number of chunks, at equal distances, that the linear models are trained on."""
FIRST_LIMITS = (1, 256)
"""Number of chunks and of features by which the offset of most rows is guessed at first."""
NUM_ROUNDS = 3
"""Number of alternations of training the models and of finding the offsets."""
COST_OF_CHANGE = 20.0
"""Cost of a change of the offset, in nats; the logarithm of the number of rows is added."""
MIN_ADVANTAGE = 0.25
"""Smallest mean advantage of an offset over offset 0 in its rows, in nats per row."""


@dataclass(frozen=True)
class Shift:
    """Consecutive rows whose targets belong to other sources."""

    start: int
    """First of the rows, from 0."""
    stop: int
    """Row after the last one."""
    offset: int
    """Source `i` belongs to target `i + offset`: -1 if a target is missing, 1 if there is one too many."""
    advantage: float
    """Log-likelihood ratio of this offset against offset 0 over all of these rows, in nats."""


@dataclass(frozen=True)
class Alignment:
    """Probabilities of the offsets of the target of each row."""

    log_probs: Probabilities
    """(N, 11): log-probability of each of `OFFSETS`."""
    path: NDArray[np.int64]
    """(N,): index of the offset of each row in the most probable sequence."""

    def shifts(self) -> list[Shift]:
        """Return the ranges of rows with another offset than 0, in order."""
        edges = np.flatnonzero(np.diff(self.path, prepend=UNSHIFTED, append=UNSHIFTED))
        shifts = []
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            index = int(self.path[start])
            gains = self.log_probs[start:stop, index] - self.log_probs[start:stop, UNSHIFTED]
            if index != UNSHIFTED and gains.mean() >= MIN_ADVANTAGE:
                shifts.append(Shift(start, stop, int(OFFSETS[index]), float(gains.sum())))
        return shifts


def align_tokens(
    src_rows: Sequence[NDArray[np.integer[Any]]], tgt_rows: Sequence[NDArray[np.integer[Any]]]
) -> Alignment:
    """Compute the offsets of pairs of rows of token ids."""
    lengths = [np.array([len(row) for row in rows]) for rows in (src_rows, tgt_rows)]
    return align(BagsOfTokens(src_rows), BagsOfTokens(tgt_rows), length_evidence(*lengths))


def align(src: RowFeatures, tgt: RowFeatures, evidence: Probabilities | None = None) -> Alignment:
    """Compute the offsets of rows with features; `evidence` (N, 11) is a further score of each offset, NaN outside."""
    count = len(src)
    if count < MIN_ROWS:
        return Alignment(np.full((count, NUM_CANDIDATES), -np.log(NUM_CANDIDATES)), np.full(count, UNSHIFTED))
    path = np.full(count, _first_offset(src, tgt))
    for _ in range(NUM_ROUNDS):
        scores = [_agreement(src, tgt, _train(src, tgt, path))]
        scores += [] if evidence is None else [evidence]
        log_probs = fit_choice(np.stack([_standardize(score) for score in scores], axis=-1), path)
        path = most_probable_path(log_probs, COST_OF_CHANGE + np.log(count))
    return Alignment(log_probs, path)


def length_evidence(src_lengths: NDArray[Any], tgt_lengths: NDArray[Any]) -> Probabilities:
    """Compute the negative squared difference of the standardized logarithms of lengths, (N, 11)."""
    if not len(src_lengths):
        return np.zeros((0, NUM_CANDIDATES))
    src, tgt = (np.log1p(lengths.astype(np.float64)) for lengths in (src_lengths, tgt_lengths))
    src, tgt = ((values - values.mean()) / (values.std() or 1.0) for values in (src, tgt))
    return -np.minimum(9.0, (src[:, None] - _neighbors(tgt)) ** 2)


def _neighbors(values: NDArray[Any]) -> Probabilities:
    """Return the values (N,) of the rows at each offset, (N, 11); NaN where there is no such row."""
    padded = np.pad(values.astype(np.float64), UNSHIFTED, constant_values=np.nan)
    return np.lib.stride_tricks.sliding_window_view(padded, NUM_CANDIDATES)


def _standardize(scores: Probabilities) -> Probabilities:
    """Subtract the mean over the offsets of each row, and divide by the standard deviation; NaN becomes 0."""
    scores = scores - np.nanmean(scores, axis=1, keepdims=True)
    return np.nan_to_num(scores / (np.nanstd(scores) or 1.0))


def _chunks(count: int, max_chunks: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the ranges of chunks of rows; of more than `max_chunks`, those at equal distances."""
    starts = np.arange(0, count, CHUNK_ROWS)
    if max_chunks is not None and len(starts) > max_chunks:
        starts = starts[np.linspace(0, len(starts) - 1, max_chunks).astype(int)]
    for start in starts.tolist():
        yield start, min(count, start + CHUNK_ROWS)


def _folds(start: int, stop: int) -> NDArray[np.int64]:
    return np.arange(start, stop) // FOLD_ROWS % 2


def _train(
    src: RowFeatures,
    tgt: RowFeatures,
    path: NDArray[np.int64],
    max_chunks: int = MAX_TRAINING_CHUNKS,
    dims: int | None = None,
) -> list[LinearModel]:
    """Train a model on each fold, with the target of each row at the offset of the path."""
    moments = [Moments(), Moments()]
    for start, stop in _chunks(len(src), max_chunks):
        rows, window = src.block(start, stop)[:, :dims], _window(tgt, start, stop)[:, :dims]
        partners = np.arange(stop - start) + path[start:stop]
        absolute = partners + start - UNSHIFTED
        is_inside = (absolute >= 0) & (absolute < len(tgt))
        for fold in range(2):
            selected = is_inside & (_folds(start, stop) == fold)
            moments[fold].add(rows[selected], window[partners[selected]])
    return [moment.fit() for moment in moments]


def _window(tgt: RowFeatures, start: int, stop: int) -> Matrix:
    """Return the target features from 5 rows before to 5 rows after a range; 0 where there is no row."""
    first, last = max(0, start - UNSHIFTED), min(len(tgt), stop + UNSHIFTED)
    return np.pad(tgt.block(first, last), ((first - start + UNSHIFTED, stop + UNSHIFTED - last), (0, 0)))


def _agreement(
    src: RowFeatures,
    tgt: RowFeatures,
    models: Sequence[LinearModel],
    max_chunks: int | None = None,
    dims: int | None = None,
) -> Probabilities:
    """Compute the agreement of each row with each offset by the model of the other fold, (N, 11); NaN outside."""
    scores = np.full((len(src), NUM_CANDIDATES), np.nan)
    for start, stop in _chunks(len(src), max_chunks):
        rows, window = src.block(start, stop)[:, :dims], _window(tgt, start, stop)[:, :dims]
        by_model = [_products(model, rows, window) for model in models]
        scores[start:stop] = np.where(_folds(start, stop)[:, None] == 0, by_model[1], by_model[0])
    scores[np.isnan(_neighbors(np.zeros(len(tgt))))] = np.nan
    return scores


def _products(model: LinearModel, src: Matrix, tgt: Matrix) -> Matrix:
    """Compute the agreement of each source (N, D) with the targets at each offset, (N, 11); tgt is (N + 10, D)."""
    predicted, tgt = model.predict(src), tgt - model.tgt_mean
    windows = [np.einsum("nd,nd->n", predicted, tgt[k : k + len(src)]) for k in range(NUM_CANDIDATES)]
    return np.stack(windows, axis=1)


def _first_offset(src: RowFeatures, tgt: RowFeatures) -> int:
    """Return the index of the offset at which models trained on it recognize the targets best: a t statistic."""
    statistics = []
    for index in range(NUM_CANDIDATES):
        models = _train(src, tgt, np.full(len(src), index), *FIRST_LIMITS)
        scores = _agreement(src, tgt, models, *FIRST_LIMITS)
        scores = scores[np.isfinite(scores[:, index])]
        margins = scores[:, index] - np.nanmean(scores, axis=1)
        statistics.append(margins.mean() / (margins.std() / np.sqrt(len(margins)) + 1e-9))
    return int(np.argmax(statistics))


def most_probable_path(log_probs: Probabilities, cost: float) -> NDArray[np.int64]:
    """Find the sequence of states with the highest sum of log-probabilities (N, K) minus the costs of changes.

    The state before the first row is offset 0.
    """
    best = np.full(log_probs.shape[1], -cost)
    best[UNSHIFTED] = 0.0
    came_from = np.zeros(log_probs.shape, np.int8)
    states = np.arange(log_probs.shape[1])
    for row, values in enumerate(log_probs):
        top = int(best.argmax())
        is_change = best[top] - cost > best
        came_from[row] = np.where(is_change, top, states)
        best = np.where(is_change, best[top] - cost, best) + values
    path = np.empty(len(log_probs), np.int64)
    state = int(best.argmax())
    for row in range(len(log_probs) - 1, -1, -1):
        path[row] = state
        state = int(came_from[row, state])
    return path
