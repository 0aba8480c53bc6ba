"""Error rates against all alignments, tried one by one, and against hand-counted examples."""

import random
from functools import cache

import pytest

from seqlab.evaluation import evaluate
from seqlab.evaluation.edits import count_edits


def distance(a: str, b: str) -> int:
    """Give the edit distance by its recursive definition."""

    @cache
    def of(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return of(len(a), len(b))


def test_edits_are_as_few_as_can_be_and_account_for_the_lengths() -> None:
    draw = random.Random(0)
    for _ in range(300):
        a, b = ("".join(draw.choices("abc", k=draw.randint(0, 8))) for _ in range(2))
        edits = count_edits(a, b)
        assert edits.substitutions + edits.deletions + edits.insertions == distance(a, b)
        assert len(a) - edits.deletions + edits.insertions == len(b)
        assert edits.length == len(a)


def test_rates_are_of_the_whole_text() -> None:
    scores = evaluate(["a b c d", "x", ""], [["a c d e", "x", "y z"]], ["wer", "cer"])
    wer = scores["wer"]
    assert wer.value == pytest.approx(100 * 4 / 7)
    assert dict(wer.extra) == {"substitutions": 0, "deletions": 3, "insertions": 1, "length": 7}
    assert not wer.higher_is_better
    assert scores["cer"].value == pytest.approx(100 * (3 + 3) / (7 + 1 + 3))
    assert wer.signature == "nrefs:1|case:mixed|unit:token|norm:none"


def test_the_nearest_of_several_references_counts() -> None:
    found = evaluate(["a b", "c"], [["a b c d", "d"], ["x b", "c"]], ["wer"])["wer"]
    assert dict(found.extra) == {"substitutions": 1, "deletions": 0, "insertions": 0, "length": 3}


def test_an_empty_reference_counts_what_was_inserted() -> None:
    assert evaluate(["a b"], [[""]], ["wer"])["wer"].value == 200
