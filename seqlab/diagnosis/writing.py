"""Whether two texts differ in their writing only: case, accents, Unicode forms, spaces and punctuation."""

import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seqlab.diagnosis.simple_models import area_under_roc, cross_fit

NUM_BUCKETS = 512
"""Number of features of a text: counts of character trigrams."""
MAX_FOLDED = 0.35
"""Share of the distance of an area from 0.5 that may remain when texts that differ in their writing are folded."""
MIN_EFFECT = 0.7
"""Standard deviations of single texts by which a share of characters must differ. Parts of one book differ by less."""
CHARACTERS: Mapping[str, Callable[[str], bool]] = {
    "capital letters": str.isupper,
    "spaces": str.isspace,
    "digits": str.isdigit,
    "punctuation marks": lambda character: unicodedata.category(character)[0] in "PS",
    "combining marks": lambda character: unicodedata.category(character)[0] == "M",
    "letters beyond ASCII": lambda character: character.isalpha() and not character.isascii(),
}
"""Kinds of characters -> test."""


def fold_writing(text: str) -> str:
    """Return the letters and digits of a text, without case and accents, in their compatibility forms (NFKD)."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))


def writing_difference(train: Sequence[str], valid: Sequence[str], area: float) -> str:
    """Return how the writing of validation texts differs from that of training texts; "" if more than it differs.

    Args:
        train: training texts.
        valid: validation texts.
        area: area under the ROC curve of a classifier that tells them apart. If they differ in their writing only, a
            classifier of the folded texts cannot: its area is near 0.5.
    """
    is_valid = np.arange(len(train) + len(valid)) >= len(train)
    log_probs = cross_fit(_trigram_counts([*train, *valid]), is_valid.astype(np.int64), 2).log_probs
    folded = area_under_roc(log_probs[:, 1] - log_probs[:, 0], is_valid)
    if folded > 0.5 + MAX_FOLDED * (area - 0.5):
        return ""
    known = set().union(*train)
    tests = {**CHARACTERS, "characters that the training text lacks": lambda character: character not in known}
    shares = {name: (_shares(train, test), _shares(valid, test)) for name, test in tests.items()}
    name = max(shares, key=lambda key: _effect(*shares[key]))
    before, after = shares[name]
    if _effect(before, after) < MIN_EFFECT:
        return ""
    return (
        f"without case, accents, spaces and punctuation the area is {folded:.2f}; {100 * before.mean():.1f}% of the "
        f"training text are {name}, but {100 * after.mean():.1f}% of the validation text"
    )


def _shares(texts: Sequence[str], test: Callable[[str], bool]) -> NDArray[np.float64]:
    """Return the share of the characters of each text that pass a test: (N,)."""
    return np.array([sum(map(test, text)) / max(1, len(text)) for text in texts])


def _effect(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the difference of two means in standard deviations within the groups (Cohen's d)."""
    deviation = ((before.var() + after.var()) / 2) ** 0.5
    return float(abs(after.mean() - before.mean()) / max(deviation, 1e-9))


def _trigram_counts(texts: Sequence[str]) -> NDArray[np.float32]:
    """Count the character trigrams of folded texts in buckets, divided by the root of the length: (N, buckets)."""
    counts = np.zeros((len(texts), NUM_BUCKETS), np.float32)
    for row, text in zip(counts, map(fold_writing, texts), strict=True):
        buckets = [zlib.crc32(text[start : start + 3].encode()) % NUM_BUCKETS for start in range(len(text) - 2)]
        np.add.at(row, buckets, 1.0)
        row /= max(1.0, len(buckets)) ** 0.5
    return counts
