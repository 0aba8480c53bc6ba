"""Texts in another language than most of their column: interpolated character 4-gram models, without other data.

The models are trained on the corpus itself, in two folds: each text is scored by the models of the other fold. The fold
depends on the text, so that equal texts are in the same one, and the order of the rows does not matter.

A text can be in the language of the other column. Or it can belong to a second language in the same column: the least
probable texts and the others train one model each, and texts move to the model that predicts them better (hard EM). A
single text in a third language is not found.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqlab.diagnosis.row_features import sample_indices

ORDER = 4
TABLE_SIZE = 1 << 20
"""Number of counters of each order: n-grams are hashed."""
PRIOR = 4.0
"""Weight of the shorter context, in occurrences."""
NUM_CHARACTERS = 1000.0
"""Reciprocal of the probability of an unknown character."""
BLOCK_ROWS = 5000
MIN_RATIO = 10.0
"""Log-likelihood ratio, in nats, from which on a text is in another language."""
MIN_RATIO_OF_COLUMNS = 0.3
"""The same per character, for the language of the other column."""
MIN_CONTRAST, MIN_SHARE = 1.5, 0.9
"""Log-likelihood ratio per character of two columns in different languages, for a minimum share of the rows."""
NUM_ROUNDS_OF_COLUMNS = 3
"""Number of trainings, each without the rows that the one before assigns to the other column."""
MIN_RATIO_OF_GROUPS = 1.0
"""The same as `MIN_RATIO_OF_COLUMNS`, for a second language in the same column."""
MIN_CONTRAST_OF_GROUPS = 1.5
"""Smallest mean of the log-likelihood ratio per character of the texts in a second language."""
MIN_GROUP, MIN_CHARACTERS = 10, 20
"""Smallest number of texts in a second language, and of characters of each."""
FIRST_SHARE, NUM_ROUNDS, SAMPLE_ROWS = 0.05, 4, 20_000
"""Share of the texts in the second group at first; number of rounds; number of rows that the groups are found in."""
_START, _END = 2, 3
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Scores = NDArray[np.float64]
Folds = NDArray[np.int64]
"""(N,): 0 or 1."""


class CharacterModel:
    """Counts of character n-grams."""

    def __init__(self) -> None:
        self.grams = np.zeros((ORDER, TABLE_SIZE), np.int32)
        self.contexts = np.zeros((ORDER, TABLE_SIZE), np.int32)

    def add(self, texts: Sequence[str]) -> None:
        """Count the n-grams of texts."""
        grams, contexts, _ = _hashed_grams(texts)
        for order in range(ORDER):
            self.grams[order] += np.bincount(grams[order], minlength=TABLE_SIZE).astype(np.int32)
            self.contexts[order] += np.bincount(contexts[order], minlength=TABLE_SIZE).astype(np.int32)

    def log_probs(self, texts: Sequence[str]) -> Scores:
        """Compute the log-probability of each text, with its end, in nats."""
        grams, contexts, rows = _hashed_grams(texts)
        probs = np.full(len(rows), 1 / NUM_CHARACTERS)
        for order in range(ORDER):
            counts, totals = self.grams[order][grams[order]], self.contexts[order][contexts[order]]
            # Two n-grams can share a counter, so that a context may be counted less often than its n-gram.
            probs = (counts + PRIOR * probs) / (np.maximum(totals, counts) + PRIOR)
        return np.bincount(rows, np.log(probs), minlength=len(texts)).astype(np.float64)


def _hashed_grams(texts: Sequence[str]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the counters of the n-grams and of their contexts by order, (characters,), and the row of each."""
    padding = chr(_START) * (ORDER - 1)
    flat = "".join(padding + text + chr(_END) for text in texts)
    codes = np.frombuffer(flat.encode("utf-32-le"), "<u4").astype(np.uint64)
    lengths = np.array([len(text) + ORDER for text in texts], np.int64)
    starts = np.cumsum(lengths) - lengths
    is_predicted = np.ones(len(codes), np.bool_)
    for offset in range(ORDER - 1):
        is_predicted[starts + offset] = False
    positions = np.flatnonzero(is_predicted)
    grams, contexts = [], []
    context = np.zeros(len(positions), np.uint64)
    for order in range(ORDER):
        contexts.append(_counter(context))
        grams.append(_counter(context * _MULTIPLIER + codes[positions] + np.uint64(order + 1)))
        if order + 1 < ORDER:
            context = (context + codes[positions - order - 1]) * _MULTIPLIER + np.uint64(order + 1)
    return grams, contexts, np.repeat(np.arange(len(texts)), lengths - ORDER + 1)


def _counter(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    mixed = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(44)).astype(np.int64)


def train_models(column: Sequence[str], folds: Folds, mask: NDArray[np.bool_]) -> list[CharacterModel]:
    """Train a model on the masked texts of each fold."""
    models = [CharacterModel(), CharacterModel()]
    for fold, model in enumerate(models):
        rows = np.flatnonzero(mask & (folds == fold))
        for part in np.array_split(rows, max(1, len(rows) // BLOCK_ROWS)):
            model.add([column[row] for row in part.tolist()])
    return models


def score(models: Sequence[CharacterModel], column: Sequence[str], folds: Folds) -> Scores:
    """Compute the log-probability of each text by the model of the other fold, (N,)."""
    log_probs = np.zeros(len(column))
    for start in range(0, len(column), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        for fold, model in enumerate(models):
            rows = start + np.flatnonzero(folds[part] != fold)
            log_probs[rows] = model.log_probs([column[row] for row in rows.tolist()])
    return log_probs


def lengths(column: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of characters of each text, with its end."""
    return np.fromiter((len(text) + 1 for text in column), np.int64, len(column))


def other_column_ratios(
    columns: Sequence[Sequence[str]], folds: Folds, mask: NDArray[np.bool_]
) -> tuple[Scores, Scores]:
    """Compute the log-likelihood ratio per character of the other column's language to the own one, (N,) for each side.

    It is negative infinity outside the mask, if the whole ratio is small, or if the columns are in one language.
    """
    none = np.full(len(folds), -np.inf)
    trusted = mask
    for _ in range(NUM_ROUNDS_OF_COLUMNS):
        models = [train_models(column, folds, trusted) for column in columns]
        ratios = [
            score(models[1 - own], column, folds) - score(models[own], column, folds)
            for own, column in enumerate(columns)
        ]
        trusted = mask & (np.maximum(*ratios) < 0)
        if not trusted.any():
            return none, none
    sides = [ratio / lengths(column) for ratio, column in zip(ratios, columns, strict=True)]
    if max(np.quantile(side[mask], MIN_SHARE) for side in sides) > -MIN_CONTRAST:
        return none, none
    first, second = (
        np.where(mask & (ratio >= MIN_RATIO), side, -np.inf) for ratio, side in zip(ratios, sides, strict=True)
    )
    return first, second


def second_language_ratios(column: Sequence[str], folds: Folds, mask: NDArray[np.bool_]) -> Scores:
    """Compute the log-likelihood ratio per character of a second language in a column to the first one, (N,).

    It is negative infinity for short texts, outside the mask, or if there is no second language.
    """
    sizes = lengths(column)
    is_long = mask & (sizes > MIN_CHARACTERS)
    none = np.full(len(column), -np.inf)
    sample = sample_indices(len(column), SAMPLE_ROWS)
    texts, sample_folds, usable = [column[row] for row in sample.tolist()], folds[sample], is_long[sample]
    if usable.sum() < MIN_GROUP:
        return none
    surprise = -score(train_models(texts, sample_folds, mask[sample]), texts, sample_folds) / sizes[sample]
    in_group = usable & (surprise >= np.quantile(surprise[usable], 1 - FIRST_SHARE))
    for _ in range(NUM_ROUNDS):
        first = train_models(texts, sample_folds, mask[sample] & ~in_group)
        second = train_models(texts, sample_folds, in_group)
        ratio = score(second, texts, sample_folds) - score(first, texts, sample_folds)
        in_group = usable & (ratio > 0)
        if in_group.sum() < MIN_GROUP:
            return none
    ratio = score(second, column, folds) - score(first, column, folds)
    is_clear = is_long & (ratio >= MIN_RATIO)
    if is_clear.sum() < MIN_GROUP or (ratio / sizes)[is_clear].mean() < MIN_CONTRAST_OF_GROUPS:
        return none
    return np.where(is_clear, ratio / sizes, -np.inf)
