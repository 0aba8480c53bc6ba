"""Word metrics against hand counts, loops and a regular expression: repeated, missing and contained words, lengths."""

import random
import re
from itertools import groupby

import pytest

from seqlab.evaluation import evaluate

NAMES = ["repeated", "missing", "length_error"]


def values(hypothesis: str, *references: str) -> list[float]:
    found = evaluate([hypothesis], [[each] for each in references], NAMES)
    return [found[name].value for name in NAMES]


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [
        ("a b c d", "a b c d", [0, 0, 0]),
        ("a a b b b", "a b c d", [60, 50, 25]),
        ("b a", "a a b b", [0, 50, 50]),
        ("d c b a", "a b c d", [0, 0, 0]),  # the order does not matter
        ("", "a b", [0, 100, 100]),
        ("a A", "", [0, 0, 200]),  # an empty reference counts as one word
        ("a b c d a", "a b c d", [0, 0, 25]),
    ],
)
def test_values_match_hand_counts(hypothesis: str, reference: str, expected: list[float]) -> None:
    assert values(hypothesis, reference) == pytest.approx(expected)


def test_the_nearest_of_several_references_is_used() -> None:
    assert values("a b c", "x y z u", "a") == pytest.approx([0, 0, 100 / 4])
    assert values("a b c", "x y z", "") == pytest.approx([0, 100, 0])  # an empty further reference is missing


def test_sums_over_lines_match_loops() -> None:
    draw = random.Random(0)
    lines = [[" ".join(draw.choices("abcd", k=draw.randint(0, 9))) for _ in range(80)] for _ in range(2)]
    found = evaluate(lines[0], lines[1:], NAMES)
    hypotheses, references = ([line.split() for line in side] for side in lines)
    length = sum(map(len, references))
    repeated = [sum(len(words) - len(list(groupby(words))) for words in side) for side in (hypotheses, references)]
    assert found["repeated"].value == pytest.approx(100 * repeated[0] / sum(map(len, hypotheses)))
    assert found["repeated"].extra["of_references"] == pytest.approx(100 * repeated[1] / length)
    num_missing = 0
    for words, reference in zip(hypotheses, references, strict=True):
        unmatched = list(words)
        for word in reference:
            if word in unmatched:
                unmatched.remove(word)
            else:
                num_missing += 1
    assert found["missing"].value == pytest.approx(100 * num_missing / length)
    errors = [len(words) - len(reference) for words, reference in zip(hypotheses, references, strict=True)]
    assert found["length_error"].value == pytest.approx(100 * sum(map(abs, errors)) / length)
    assert found["length_error"].extra["too_many"] == sum(max(0, error) for error in errors)
    assert not any(score.higher_is_better for score in found.values())


CONTAINS_CASES = [
    ("Kavoru geht nach Hause .", "Kavoru", True),
    ("Kavoru, der geht", "Kavoru", True),
    ("Kavorus Haus", "Kavoru", False),
    ("kavoru geht", "Kavoru", False),
    ("am 3.5. um 12:30", "12:30", True),
    ("der „Rote Platz“ ist rot", "Rote Platz", True),
    ("Rote und Platz", "Rote Platz", False),
    ("", "x", False),
    ("वह दिल्ली।", "दिल्ली", True),
    ("هل تأتي؟", "تأتي", True),
    ("「東京」", "東京", True),
    ("5% C#", "5 C", False),
]


@pytest.mark.parametrize(("hypothesis", "reference", "is_contained"), CONTAINS_CASES)
def test_contains_finds_only_complete_words(hypothesis: str, reference: str, is_contained: bool) -> None:
    assert evaluate([hypothesis], [[reference]], ["contains"])["contains"].value == 100 * is_contained
    assert bool(re.search(rf"(?<!\w){re.escape(reference)}(?!\w)", hypothesis)) == is_contained


def test_contains_needs_only_one_of_several_references() -> None:
    score = evaluate(["a b", "c d", "e"], [["x", "c", "f"], ["b", "", ""]], ["contains"])["contains"]
    assert score.extra == {"holding": 2, "lines": 3}
    assert score.value == pytest.approx(200 / 3)


def test_contains_ignores_lines_without_reference_words() -> None:
    hypotheses, references = ["Anna geht", "Annabel geht", "x", "y"], ["Anna", "Anna", "", " . "]
    score = evaluate(hypotheses, [references], ["contains"])["contains"]
    assert (score.value, score.extra) == (50, {"holding": 1, "lines": 2})
    with pytest.raises(ValueError, match="all reference lines are without words"):
        evaluate(["x"], [[""]], ["contains"])
