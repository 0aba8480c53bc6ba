"""Spelling model against interpolated counts, and as a distribution over strings."""

import itertools
import math

import pytest
from reference.kneser_ney import KneserNey

from seqlab.models.spelling import ORDER, SpellingModel

ITEMS = ["Straße", "Strand", "Rand", "größer", "日本", "naïve", "na", "abc"]
STRINGS = ["", "a", "Strand", "Strang", "é", "日", "🙂", "x" * 40, "\x00", "größte"]


@pytest.fixture(scope="module")
def spelling() -> SpellingModel:
    return SpellingModel.learn(ITEMS)


def test_spelling_scores_equal_the_equations(spelling: SpellingModel) -> None:
    """Bytes are ids after pad, bos and eos; the reference uses plain dicts."""
    rows = [[byte + 3 for byte in item.encode()] for item in ITEMS]
    reference = KneserNey(rows, ORDER, 3 + 256, (0, 1, 2), "lines")
    for string in STRINGS:
        ids = [1, *(byte + 3 for byte in string.encode()), 2]
        assert spelling.log_prob(string) == pytest.approx(sum(reference.log_probs(ids)))


def test_string_probabilities_are_positive_and_sum_to_one(spelling: SpellingModel) -> None:
    assert all(-math.inf < spelling.log_prob(string) < 0 for string in STRINGS)
    characters = [chr(code) for code in range(128)]
    pairs = map("".join, itertools.product(characters[97:123], repeat=2))
    short = ["", *characters, *pairs, *ITEMS, *STRINGS]
    assert 0 < math.fsum(math.exp(spelling.log_prob(string)) for string in set(short)) < 1


def test_spellings_like_the_training_items_are_more_probable(spelling: SpellingModel) -> None:
    assert spelling.log_prob("Stranße") > spelling.log_prob("qzjxkwv")
    assert spelling.log_prob("na") > spelling.log_prob("an")
