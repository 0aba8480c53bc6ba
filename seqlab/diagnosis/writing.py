"""Whether two texts differ in their writing only: case, accents, Unicode forms, spaces and punctuation."""

import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seqlab.diagnosis.simple_models import area_under_roc, cross_fit

NUM_BUCKETS = 512
"""Number of features of a text: counts of character trigrams."""
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
            classifier of the folded texts cannot: its area is nearer to 0.5 than to this one.
    """
    is_valid = np.arange(len(train) + len(valid)) >= len(train)
    log_probs = cross_fit(_trigram_counts([*train, *valid]), is_valid.astype(np.int64), 2).log_probs
    folded = area_under_roc(log_probs[:, 1] - log_probs[:, 0], is_valid)
    if folded > (0.5 + area) / 2:
        return ""
    shares = {name: (_share(train, test), _share(valid, test)) for name, test in CHARACTERS.items()}
    name = max(shares, key=lambda key: abs(np.subtract(*shares[key])))
    before, after = shares[name]
    return (
        f"without case, accents, spaces and punctuation the area is {folded:.2f}; {100 * before:.1f}% of the training "
        f"text are {name}, but {100 * after:.1f}% of the validation text"
    )


def _trigram_counts(texts: Sequence[str]) -> NDArray[np.float32]:
    """Count the character trigrams of folded texts in buckets, divided by the root of the length: (N, buckets)."""
    counts = np.zeros((len(texts), NUM_BUCKETS), np.float32)
    for row, text in zip(counts, map(fold_writing, texts), strict=True):
        buckets = [zlib.crc32(text[start : start + 3].encode()) % NUM_BUCKETS for start in range(len(text) - 2)]
        np.add.at(row, buckets, 1.0)
        row /= max(1.0, len(buckets)) ** 0.5
    return counts


def _share(texts: Sequence[str], test: Callable[[str], bool]) -> float:
    """Return the share of the characters that pass a test."""
    return sum(test(character) for text in texts for character in text) / max(1, sum(map(len, texts)))
