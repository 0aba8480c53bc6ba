"""Error reports: scores by group against jiwer, worst lines, and printed alignments."""

import json
import random
from collections.abc import Sequence

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from seqlab.evaluation import METRICS, AlignedLine, error_table, worst_lines
from seqlab.evaluation.edits import WER, align, count_edits

WORDS = ["one", "two", "three", "four", "five", "six"]
SPEAKERS = ["ben", "anna", "", "zoe"]


def make_test_set(count: int, seed: int) -> tuple[list[str], list[str], list[str]]:
    """Draw hypotheses, references and speakers."""
    draw = random.Random(seed)
    references = [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) for _ in range(count)]
    hypotheses = [
        " ".join(draw.choice([word, word, draw.choice(WORDS), "", f"{word} so"]) for word in line.split())
        for line in references
    ]
    return hypotheses, references, draw.choices(SPEAKERS, k=count)


@pytest.mark.parametrize("metric", ["wer", "cer"])
def test_each_group_has_the_error_rate_of_its_lines(metric: str) -> None:
    hypotheses, references, speakers = make_test_set(60, 0)
    hypotheses = [" ".join(line.split()) for line in hypotheses]
    table = error_table(hypotheses, [references], speakers, metric)
    assert [each.group for each in table.groups] == ["", "anna", "ben", "zoe"]
    rate = {"wer": jiwer.wer, "cer": jiwer.cer}[metric]
    for each in table.groups:
        lines = [i for i, speaker in enumerate(speakers) if speaker == each.group]
        assert each.num_lines == len(lines)
        expected = rate([references[i] for i in lines], [hypotheses[i] for i in lines])
        assert each.score.value == pytest.approx(100 * expected)
    assert table.total.score.value == pytest.approx(100 * rate(references, hypotheses))
    assert table.total.num_lines == sum(each.num_lines for each in table.groups) == 60
    for count in ("substitutions", "deletions", "insertions", "length"):
        assert sum(each.score.extra[count] for each in table.groups) == table.total.score.extra[count]


def test_tables_are_printed_and_written_as_json() -> None:
    hypotheses, references = ["a b", "x y", "c"], ["a c d", "x y", "c"]
    table = error_table(hypotheses, [references], ["\u5f20", "ben", ""])
    assert table.lines() == [
        "group   lines    wer  N  S  D  I",
        "(none)      1   0.00  1  0  0  0",
        "ben         1   0.00  2  0  0  0",
        "\u5f20          1  66.67  3  1  1  0",  # this character is two columns wide
        "total       3  33.33  6  1  1  0",
    ]
    found = json.loads(json.dumps(table.as_dict()))
    assert found["total"] == {
        "lines": 3,
        "value": pytest.approx(100 / 3),
        "substitutions": 1,
        "deletions": 1,
        "insertions": 0,
        "length": 6,
    }
    assert [(each["group"], each["length"]) for each in found["groups"]] == [("", 1), ("ben", 2), ("\u5f20", 3)]


def test_other_metrics_have_tables_without_counts() -> None:
    hypotheses, references, speakers = make_test_set(60, 1)
    table = error_table(hypotheses, [references], speakers, "bleu")
    assert table.lines()[0].split() == ["group", "lines", "BLEU"]
    lines = [i for i, speaker in enumerate(speakers) if speaker == "zoe"]
    expected = BLEU().corpus_score([hypotheses[i] for i in lines], [[references[i] for i in lines]])
    assert table.groups[-1].score.value == pytest.approx(expected.score)


def test_worst_lines_are_sorted_and_exclude_correct_lines() -> None:
    hypotheses, references, _ = make_test_set(40, 2)
    errors = [count_edits(a.split(), b.split()).total for a, b in zip(references, hypotheses, strict=True)]
    found = worst_lines(hypotheses, [references], 40)
    expected = sorted((i for i, count in enumerate(errors) if count), key=lambda i: (-errors[i], i))
    assert [each.index for each in found] == expected
    assert len(expected) < 40
    assert worst_lines(hypotheses, [references], 3) == found[:3]
    assert worst_lines(hypotheses, [references], 3, counted=METRICS["wer"](hypotheses, [references])) == found[:3]
    assert [each.edits.total for each in found] == [errors[i] for i in expected]
    assert worst_lines(references, [references], 5) == []


def test_lines_are_aligned_with_the_reference_with_the_fewest_edits() -> None:
    [line] = worst_lines(["a b c"], [["x y z"], ["a b d"]], 1)
    assert (line.text(0), line.text(1), line.edits.total) == ("a b d", "a b c", 1)
    [line] = worst_lines(["a b c", "e"], [["a b z z", "e"], ["", "f"]], 1)
    assert (line.text(0), line.edits.total) == ("a b z z", 2)


def test_alignments_are_printed_and_written_as_json() -> None:
    [line] = worst_lines(["the bat sat on mat here now"], [["the cat sat on the green mat here"]], 1)
    assert line.lines("hyp.txt, line 7") == [
        "hyp.txt, line 7: N 8, S 1, D 2, I 1",
        "REF: the cat sat on the green mat here ***",
        "HYP: the bat sat on *** ***   mat here now",
        "         S          D   D              I",
    ]
    assert line.lines()[0].startswith("line 1: ")
    [line] = worst_lines(["\u4f60\u597dcafe"], [["\u4f60\u4e16\u754ccaf\u00e9"]], 1, "cer")
    assert line.lines() == [
        "line 1: N 7, S 2, D 1, I 0",
        "REF: \u4f60\u4e16\u754ccaf\u00e9",
        "HYP: \u4f60\u597d* cafe",
        "       S D    S",
    ]
    found = json.loads(json.dumps(line.as_dict()))
    assert (found["line"], found["deletions"], found["reference"]) == (1, 1, "\u4f60\u4e16\u754ccaf\u00e9")
    assert found["alignment"][2] == ["\u754c", None]


words = st.lists(st.sampled_from([*WORDS, "a", "\u4f60\u597d", "e\u0301x"]), max_size=60)


def columns(text: str) -> int:
    """Count the terminal columns of a text."""
    return sum(2 if "\u4e00" <= character <= "\u9fff" else character != "\u0301" for character in text)


def starts(row: str) -> list[int]:
    """Return the columns at which the words of a row start."""
    return [columns(row[:i]) for i in range(5, len(row)) if row[i] != " " and row[i - 1] == " "]


@given(words, words)
def test_the_printed_alignment_is_complete(reference: Sequence[str], hypothesis: Sequence[str]) -> None:
    edits = count_edits(reference, hypothesis)
    line = AlignedLine(0, WER, edits, tuple(align(reference, hypothesis)))
    _, *rows = line.lines()
    assert len(rows) % 3 == 0
    assert all(columns(row) <= 105 for row in rows)
    refs, hyps, marks = (rows[i::3] for i in range(3))
    assert [word for row in refs for word in row[5:].split() if word != "***"] == list(reference)
    assert [word for row in hyps for word in row[5:].split() if word != "***"] == list(hypothesis)
    all_marks = "".join(marks)
    assert tuple(map(all_marks.count, "SDI")) == edits[:3]
    for ref, hyp, mark in zip(refs, hyps, marks, strict=True):
        assert starts(ref) == starts(hyp)
        assert set(starts(mark)) <= set(starts(ref))


def test_invalid_reports_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2 lines and 1 groups"):
        error_table(["a", "b"], [["a", "b"]], ["x"])
    with pytest.raises(ValueError, match="2 hypotheses and 1 references"):
        error_table(["a", "b"], [["a"]], ["x", "y"])
    with pytest.raises(ValueError, match="2 hypotheses and 1 references"):
        worst_lines(["a", "b"], [["a"]], 1)
    with pytest.raises(ValueError, match="'per'"):
        error_table(["a"], [["a"]], ["x"], "per")
    with pytest.raises(ValueError, match="`metric` must be one of wer, cer, but is 'bleu'"):
        worst_lines(["a"], [["a"]], 1, "bleu")
    with pytest.raises(ValueError, match="`count` must be at least 1, but is 0"):
        worst_lines(["a"], [["a"]], 0)
