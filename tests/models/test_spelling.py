"""Spelling model against Kneser-Ney equations, and as a distribution over strings."""

import itertools
import logging
import math

import pytest
from reference.kneser_ney import KneserNey

from seqlab.models.spelling import ORDER, SpellingModel

WORDS = ["Straße", "Strand", "Rand", "größer", "日本", "naïve", "na", "abc"]
STRINGS = ["", "a", "Strand", "Strang", "é", "日", "🙂", "x" * 40, "\x00", "größte"]


@pytest.fixture(scope="module")
def spelling() -> SpellingModel:
    return SpellingModel.fit(WORDS)


def test_spelling_scores_equal_the_equations(spelling: SpellingModel) -> None:
    """The ids of bytes follow pad, bos and eos. The reference uses dictionaries."""
    rows = [[byte + 3 for byte in word.encode()] for word in WORDS]
    reference = KneserNey(rows, ORDER, 3 + 256, (0, 1, 2), "lines")
    for string in STRINGS:
        ids = [1, *(byte + 3 for byte in string.encode()), 2]
        assert spelling.log_prob(string) == pytest.approx(sum(reference.log_probs(ids)))


def test_fitting_rare_items_gives_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Their counts are always too few to estimate discounts, which would look like a fault of the language model."""
    SpellingModel.fit(WORDS[:2])
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_string_probabilities_are_positive_and_sum_to_one(spelling: SpellingModel) -> None:
    assert all(-math.inf < spelling.log_prob(string) < 0 for string in STRINGS)
    characters = [chr(code) for code in range(128)]
    pairs = map("".join, itertools.product(characters[97:123], repeat=2))
    strings = ["", *characters, *pairs, *WORDS, *STRINGS]
    assert 0 < math.fsum(math.exp(spelling.log_prob(string)) for string in set(strings)) < 1


def test_strings_similar_to_training_words_are_more_probable(spelling: SpellingModel) -> None:
    assert spelling.log_prob("Stranße") > spelling.log_prob("qzjxkwv")
    assert spelling.log_prob("na") > spelling.log_prob("an")
