"""Accuracy, macro F1 and confusion matrix against plain counts."""

import numpy as np
import pytest

from seqlab.evaluation import METRICS, compare, confusion, evaluate


def random_labels(seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 6, size=40)
    hypotheses, references = (
        [" ".join(rng.choice(list("ABCD"), size=n, p=p)) for n in lengths] for p in ([0.4, 0.3, 0.2, 0.1], [0.25] * 4)
    )
    return hypotheses, references


def test_metrics_match_their_definitions() -> None:
    hypotheses, references = random_labels(1)
    pairs = [
        pair for h, r in zip(hypotheses, references, strict=True) for pair in zip(h.split(), r.split(), strict=True)
    ]
    scores = evaluate(hypotheses, [references], ["accuracy", "macro_f1"])
    assert scores["accuracy"].value == pytest.approx(100 * sum(h == r for h, r in pairs) / len(pairs))
    by_label = []
    for label in "ABCD":
        right = sum(h == r == label for h, r in pairs)
        precision = right / sum(h == label for h, _ in pairs)
        recall = right / sum(r == label for _, r in pairs)
        by_label.append(2 * precision * recall / (precision + recall))
    assert scores["macro_f1"].value == pytest.approx(100 * np.mean(by_label))
    table = confusion(hypotheses, references)
    assert sorted(table.labels) == list("ABCD")
    for i, reference in enumerate(table.labels):
        for j, hypothesis in enumerate(table.labels):
            assert table.counts[i, j] == pairs.count((hypothesis, reference))
    assert list(table.counts.sum(1)) == sorted(table.counts.sum(1), reverse=True)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_scores_of_selected_lines_match_a_file_of_these_lines(metric: str) -> None:
    hypotheses, references = random_labels(2)
    statistics = METRICS[metric](hypotheses, [references])
    for lines in ([0, 0, 3, 7, 7, 7, 39], list(range(40)), [5]):
        selected = METRICS[metric]([hypotheses[i] for i in lines], [[references[i] for i in lines]])
        assert statistics.score_of(np.array(lines)) == selected.score()


def test_a_label_that_is_only_predicted_lowers_macro_f1() -> None:
    assert evaluate(["A", "B"], [["A", "A"]], ["macro_f1"])["macro_f1"].value == pytest.approx(100 * (2 / 3 + 0) / 2)


def test_references_and_comparison_of_label_metrics() -> None:
    assert evaluate(["A B"], [["A A"], ["B B"]], ["accuracy"])["accuracy"].value == 100
    with pytest.raises(ValueError, match="compares with one reference"):
        evaluate(["A"], [["A"], ["B"]], ["macro_f1"])
    hypotheses, references = random_labels(2)
    assert compare(references, hypotheses, [references], ["accuracy"])["accuracy"].difference > 0


def test_lines_with_a_different_number_of_labels_are_reported() -> None:
    with pytest.raises(ValueError, match="Line 2 of the hypotheses has 1 label, but line 2 of the references has 2"):
        evaluate(["A", "A"], [["A", "A B"]], ["accuracy"])


def test_a_confusion_table_without_labels_has_no_rows() -> None:
    assert len(confusion(["", ""], ["", ""]).lines()) == 1
