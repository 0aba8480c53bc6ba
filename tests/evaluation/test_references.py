"""References that only some lines have: each line is scored with its own references."""

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from seqlab.evaluation import METRICS, compare, evaluate
from seqlab.evaluation.metrics import line_statistics

SACREBLEU = {"bleu": BLEU, "chrf": CHRF, "ter": TER}
WORDS = ["Ein", "Mann", "mit", "Hut", "steht", "vor", "dem", "roten", "Haus", "."]
OF_NUMBERS = ("label_macro_f1", "mae", "rmse", "r2", "log_loss", "label_log_loss")
OTHERS = ("accuracy", "macro_f1", "micro_f1", *OF_NUMBERS)
"""Metrics of labels (equally many per line) and of numbers."""
NEEDING_MORE = ("bleu_ja_mecab", "bleu_flores200")
"""Metrics whose tokenizers are not installed with seqlab."""
TEXT_METRICS = [name for name in METRICS if name not in (*OTHERS, *NEEDING_MORE)]


def random_lines(seed: int, count: int = 50) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(count)]


def with_gaps(lines: list[str], seed: int) -> list[str]:
    """Replace half of the lines by empty ones, one of them by spaces."""
    draw = random.Random(seed)
    return ["  ", *(line if draw.random() < 0.5 else "" for line in lines[1:])]


HYPOTHESES = random_lines(0)
REFERENCES = [random_lines(1), with_gaps(random_lines(2), 3), with_gaps(random_lines(4), 5)]
OF_LINES = [[first, *(line for line in further if line.strip())] for first, *further in zip(*REFERENCES, strict=True)]


@pytest.mark.parametrize("name", SACREBLEU)
def test_sacrebleu_receives_missing_references(name: str) -> None:
    theirs = SACREBLEU[name]()
    first, *further = REFERENCES
    expected = theirs.corpus_score(HYPOTHESES, [first, *([line.strip() or None for line in each] for each in further)])
    score = evaluate(HYPOTHESES, REFERENCES, [name])[name]
    assert score.value == pytest.approx(expected.score, rel=1e-12)
    assert score.signature == str(theirs.get_signature())
    assert score.signature.startswith("nrefs:var|")


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_each_line_counts_as_alone_with_its_references(name: str) -> None:
    rows = line_statistics(name, HYPOTHESES, REFERENCES).rows
    for row, hypothesis, own in zip(rows, HYPOTHESES, OF_LINES, strict=True):
        [alone] = METRICS[name]([hypothesis], [[reference] for reference in own]).rows
        np.testing.assert_array_equal(row, alone)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_a_file_of_empty_lines_changes_nothing(name: str) -> None:
    first = REFERENCES[0]
    alone, beside_nothing = (evaluate(HYPOTHESES, each, [name])[name] for each in ([first], [first, [""] * len(first)]))
    assert beside_nothing == alone
    assert "nrefs:1|" in alone.signature


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_a_comparison_uses_the_same_references(name: str) -> None:
    found = compare(HYPOTHESES, REFERENCES[0], REFERENCES, [name], num_samples=2)[name]
    assert found.system == evaluate(HYPOTHESES, REFERENCES, [name])[name]
    assert found.baseline == evaluate(REFERENCES[0], REFERENCES, [name])[name]


def test_nothing_equals_an_empty_first_reference_only() -> None:
    """A line without words may be right, and a reference that is missing is no such line."""
    found = evaluate(["", "", "b c", "d"], [["", "a", "a", "a b"], ["x", "", "b c", ""]], ["exact_match", "wer"])
    assert found["exact_match"].extra["correct"] == 2
    assert found["exact_match"].signature == "nrefs:var|case:mixed|unit:line|norm:none"
    assert dict(found["wer"].extra) == {"substitutions": 1, "deletions": 2, "insertions": 0, "length": 5}
    assert found["wer"].signature == "nrefs:var|case:mixed|unit:token|norm:none"
