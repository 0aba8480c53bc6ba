"""Texts in another language than most of their column: interpolated character 4-gram models of each column.

The models are trained on the corpus itself, in two folds: each text is scored by the models of the other fold. The fold
depends on the text, so that equal texts are in the same one, and the order of the rows does not matter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDER = 4
TABLE_SIZE = 1 << 20
"""Number of counters of each order: n-grams are hashed."""
PRIOR = 4.0
"""Weight of the shorter context, in occurrences."""
NUM_CHARACTERS = 1000.0
"""Reciprocal of the probability of an unknown character."""
BLOCK_ROWS = 5000
MIN_RATIO = 12.0
"""Log-likelihood ratio, in nats, from which on a text is in the language of the other column."""
MIN_RATIO_PER_CHARACTER = 0.3
MIN_CONTRAST = 0.5
"""Smallest median of the log-likelihood ratio per character of two columns in different languages."""
MIN_DEVIATION = 12.0
"""Deviation of the log-probability of a text from that of others of its length, in standard deviations."""
MIN_DIFFERENCE = 1.0
"""Difference of the mean log-probability of a character from the median, in nats."""
MIN_CHARACTERS = 20
_START, _END = 2, 3
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Scores = NDArray[np.float64]


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


@dataclass(frozen=True)
class ColumnScores:
    """Log-probabilities of the texts of a column by the model of each column, in nats."""

    by_column: Scores  # (columns, N)
    lengths: NDArray[np.int64]  # (N,): number of characters, with the end

    def per_character(self, column: int) -> Scores:
        """Return the mean log-probability of a character of each text by the model of a column."""
        return self.by_column[column] / self.lengths


def score_columns(
    columns: Sequence[Sequence[str]], folds: NDArray[np.int64], trusted: NDArray[np.bool_]
) -> list[ColumnScores]:
    """Score each column by models of all columns that were trained on the trusted rows of the other fold.

    Args:
        columns: texts of each column, N each.
        folds: (N,): 0 or 1.
        trusted: (N,): whether the models are trained on a row.
    """
    models = [[CharacterModel() for _ in columns] for _ in range(2)]
    count = len(folds)
    for number, column in enumerate(columns):
        for start, texts in _blocks(column):
            for fold in range(2):
                chosen = start + np.flatnonzero(((folds == fold) & trusted)[start : start + len(texts)])
                models[fold][number].add([column[row] for row in chosen.tolist()])
    scores = []
    for column in columns:
        found = np.zeros((len(columns), count))
        for start, texts in _blocks(column):
            part = slice(start, start + len(texts))
            for number in range(len(columns)):
                by_fold = [models[fold][number].log_probs(texts) for fold in range(2)]
                found[number, part] = np.where(folds[part] == 0, by_fold[1], by_fold[0])
        lengths = np.fromiter((len(text) + 1 for text in column), np.int64, count)
        scores.append(ColumnScores(found, lengths))
    return scores


def _blocks(column: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for start in range(0, len(column), BLOCK_ROWS):
        yield start, column[start : start + BLOCK_ROWS]


def other_column_ratio(scores: ColumnScores, own: int, other: int) -> Scores:
    """Compute the log-likelihood ratio per character of another column's model to its own model, (N,).

    It is negative infinity if the columns have no different languages, or if the whole ratio is small.
    """
    ratio = scores.by_column[other] - scores.by_column[own]
    per_character = ratio / scores.lengths
    if not len(ratio) or np.median(per_character) > -MIN_CONTRAST:
        return np.full(len(ratio), -np.inf)
    return np.where(ratio >= MIN_RATIO, per_character, -np.inf)


def deviations(scores: ColumnScores, own: int) -> Scores:
    """Compute how far each text is less probable than others of its length, in robust standard deviations, (N,).

    It is negative infinity for short texts and for small differences per character.
    """
    per_character = scores.per_character(own)
    difference = np.median(per_character) - per_character
    scaled = difference * np.sqrt(scores.lengths)
    spread = 1.4826 * np.median(np.abs(scaled - np.median(scaled))) or 1.0
    is_clear = (difference >= MIN_DIFFERENCE) & (scores.lengths > MIN_CHARACTERS)
    return np.where(is_clear, scaled / spread, -np.inf)
