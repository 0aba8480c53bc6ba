"""Metric `contains`: words of the reference in the hypothesis, against a regular expression."""

import re

import pytest

from seqlab.evaluation import evaluate

CASES = [
    ("Kavoru geht nach Hause .", "Kavoru", True),
    ("Kavoru, der geht", "Kavoru", True),
    ("Kavorus Haus", "Kavoru", False),
    ("kavoru geht", "Kavoru", False),
    ("am 3.5. um 12:30", "12:30", True),
    ("der „Rote Platz“ ist rot", "Rote Platz", True),
    ("Rote und Platz", "Rote Platz", False),
    ("", "x", False),
]


@pytest.mark.parametrize(("hypothesis", "reference", "is_contained"), CASES)
def test_only_complete_words_are_found(hypothesis: str, reference: str, is_contained: bool) -> None:
    assert evaluate([hypothesis], [[reference]], ["contains"])["contains"].value == 100 * is_contained
    assert bool(re.search(rf"(?<!\w){re.escape(reference)}(?!\w)", hypothesis)) == is_contained


def test_one_of_several_references_is_enough() -> None:
    score = evaluate(["a b", "c d", "e"], [["x", "c", "f"], ["b", "", ""]], ["contains"])["contains"]
    assert score.extra == {"holding": 2, "lines": 3}
    assert score.value == pytest.approx(200 / 3)


def test_lines_without_reference_words_do_not_count() -> None:
    hypotheses, references = ["Anna geht", "Annabel geht", "x", "y"], ["Anna", "Anna", "", " . "]
    score = evaluate(hypotheses, [references], ["contains"])["contains"]
    assert (score.value, score.extra) == (50, {"holding": 1, "lines": 2})
    with pytest.raises(ValueError, match="all reference lines are without words"):
        evaluate(["x"], [[""]], ["contains"])
