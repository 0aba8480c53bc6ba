"""Lines with different numbers of references: each line is scored with its references."""

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from seqlab.evaluation import METRICS, compare, evaluate
from seqlab.evaluation.metrics import line_statistics

SACREBLEU = {"bleu": BLEU, "chrf": CHRF, "ter": TER}
WORDS = ["Ein", "Mann", "mit", "Hut", "steht", "vor", "dem", "roten", "Haus", "."]
NUMBER_METRICS = ("label_macro_f1", "mae", "rmse", "r2", "log_loss", "label_log_loss")
EXCLUDED = ("accuracy", "macro_f1", "micro_f1", "entity_f1", "entity_f1_strict", *NUMBER_METRICS)
"""Metrics of numbers and of labels. Each line must have as many labels as its reference."""
NOT_INSTALLED = ("bleu_ja_mecab", "bleu_flores200")
"""Metrics with tokenizers that are not installed with seqlab."""
TEXT_METRICS = [name for name in METRICS if name not in (*EXCLUDED, *NOT_INSTALLED)]


def random_lines(seed: int, count: int = 50) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(count)]


def remove_half(lines: list[str], seed: int) -> list[str]:
    """Replace half of the lines by empty lines, and the first by spaces."""
    draw = random.Random(seed)
    return ["  ", *(line if draw.random() < 0.5 else "" for line in lines[1:])]


HYPOTHESES = random_lines(0)
REFERENCES = [random_lines(1), remove_half(random_lines(2), 3), remove_half(random_lines(4), 5)]
REFERENCES_BY_LINE = [
    [first, *(line for line in further if line.strip())] for first, *further in zip(*REFERENCES, strict=True)
]


@pytest.mark.parametrize("name", SACREBLEU)
def test_missing_references_match_none_in_sacrebleu(name: str) -> None:
    metric = SACREBLEU[name]()
    first, *further = REFERENCES
    expected = metric.corpus_score(HYPOTHESES, [first, *([line.strip() or None for line in each] for each in further)])
    score = evaluate(HYPOTHESES, REFERENCES, [name])[name]
    assert score.value == pytest.approx(expected.score, rel=1e-12)
    assert score.signature == str(metric.get_signature())
    assert score.signature.startswith("nrefs:var|")


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_statistics_of_a_line_do_not_depend_on_other_lines(name: str) -> None:
    rows = line_statistics(name, HYPOTHESES, REFERENCES).rows
    for row, hypothesis, references in zip(rows, HYPOTHESES, REFERENCES_BY_LINE, strict=True):
        [expected] = METRICS[name]([hypothesis], [[reference] for reference in references]).rows
        np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_a_further_reference_file_of_empty_lines_is_ignored(name: str) -> None:
    first = REFERENCES[0]
    expected, found = (evaluate(HYPOTHESES, each, [name])[name] for each in ([first], [first, [""] * len(first)]))
    assert found == expected
    assert "nrefs:1|" in expected.signature


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_compare_uses_the_references_of_each_line(name: str) -> None:
    found = compare(HYPOTHESES, REFERENCES[0], REFERENCES, [name], num_samples=2)[name]
    assert found.system == evaluate(HYPOTHESES, REFERENCES, [name])[name]
    assert found.baseline == evaluate(REFERENCES[0], REFERENCES, [name])[name]


def test_empty_hypotheses_match_only_empty_first_references() -> None:
    """An empty line of the first reference is a reference; an empty line of a further one means that it is missing."""
    found = evaluate(["", "", "b c", "d"], [["", "a", "a", "a b"], ["x", "", "b c", ""]], ["exact_match", "wer"])
    assert found["exact_match"].extra["correct"] == 2
    assert found["exact_match"].signature == "nrefs:var|case:mixed|unit:line|norm:none"
    assert dict(found["wer"].extra) == {"substitutions": 1, "deletions": 2, "insertions": 0, "length": 5}
    assert found["wer"].signature == "nrefs:var|case:mixed|unit:token|norm:none"
