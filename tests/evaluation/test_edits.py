"""Error rates and alignments against the recursive edit distance, jiwer and hand-counted examples."""

import random
from functools import cache
from pathlib import Path

import jiwer
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference.processes import FORKSERVER

from seqlab.evaluation import evaluate
from seqlab.evaluation.edits import align, cer, count_edits, wer

words = st.lists(st.sampled_from(["a", "b", "ab", "A", "b.", "\u00e9", "e\u0301", "\u4f60\u597d"]), max_size=7)
pairs_of_lines = st.lists(st.tuples(words.map(" ".join), words.map(" ".join)), min_size=1, max_size=5)


def edit_distance(a: str, b: str) -> int:
    """Compute the edit distance by its recursive definition."""

    @cache
    def prefix_distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(
            prefix_distance(i - 1, j) + 1,
            prefix_distance(i, j - 1) + 1,
            prefix_distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    return prefix_distance(len(a), len(b))


def test_edits_are_minimal_and_match_the_lengths() -> None:
    draw = random.Random(0)
    for _ in range(300):
        a, b = ("".join(draw.choices("abc", k=draw.randint(0, 8))) for _ in range(2))
        edits = count_edits(a, b)
        assert edits.substitutions + edits.deletions + edits.insertions == edit_distance(a, b)
        assert len(a) - edits.deletions + edits.insertions == len(b)
        assert edits.length == len(a)


def test_rates_are_summed_over_the_lines() -> None:
    scores = evaluate(["a b c d", "x", ""], [["a c d e", "x", "y z"]], ["wer", "cer"])
    wer = scores["wer"]
    assert wer.value == pytest.approx(100 * 4 / 7)
    assert dict(wer.extra) == {"substitutions": 0, "deletions": 3, "insertions": 1, "length": 7}
    assert not wer.higher_is_better
    assert scores["cer"].value == pytest.approx(100 * (3 + 3) / (7 + 1 + 3))
    assert wer.signature == "nrefs:1|case:mixed|unit:token|norm:none"


def test_the_reference_with_the_fewest_edits_is_used() -> None:
    found = evaluate(["a b", "c"], [["a b c d", "d"], ["x b", "c"]], ["wer"])["wer"]
    assert dict(found.extra) == {"substitutions": 1, "deletions": 0, "insertions": 0, "length": 3}


def test_an_empty_reference_counts_insertions() -> None:
    assert evaluate(["a b"], [[""]], ["wer"])["wer"].value == 200


@given(pairs_of_lines)
@example([("", ""), ("", "a b"), ("a", "")])
@example([("", "a b"), ("", "")])
@example([("", "")])
@example([("the cat sat on the mat", "cat sat at the the mat now")])
def test_counts_and_rates_match_jiwer(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = map(list, zip(*pairs, strict=True))
    found = evaluate(hypotheses, [references], ["wer", "cer"])
    by_words = jiwer.process_words(references, hypotheses)
    by_characters = jiwer.process_characters(references, hypotheses)
    for score, expected, rate in (
        (found["wer"], by_words, by_words.wer),
        (found["cer"], by_characters, by_characters.cer),
    ):
        substitutions, deletions, insertions, length = score.extra.values()
        assert score.value == pytest.approx(100 * rate)
        assert length == expected.hits + expected.substitutions + expected.deletions
        assert (substitutions, deletions, insertions) == (
            expected.substitutions,
            expected.deletions,
            expected.insertions,
        )


def peak_kilobytes() -> int:
    """Return the largest resident memory of this process so far."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def align_and_measure_memory() -> int:
    """Align two lines of 60,000 characters; return the memory in kB that this took."""
    rng = random.Random(1)
    lines = ["".join(rng.choices("abcdefgh ", k=60_000)) for _ in range(2)]
    before = peak_kilobytes()
    evaluate(lines[:1], [lines[1:]], ["cer", "wer"])
    return peak_kilobytes() - before


def test_memory_is_linear_in_the_length() -> None:
    """A full alignment table would take 14 GB."""
    with FORKSERVER.Pool(1) as pool:
        assert pool.apply(align_and_measure_memory) < 200_000


def test_leading_and_trailing_spaces_are_ignored_as_in_jiwer() -> None:
    hypotheses, references = ["a b \t", " c  d"], [" a b", "c d"]
    assert evaluate(hypotheses, [references], ["cer"])["cer"].value == 100 * jiwer.cer(references, hypotheses) > 0


def test_empty_reference_lines_count_insertions_as_in_jiwer() -> None:
    for lines, references, value in (
        ([""], [""], 0.0),
        (["a b", ""], ["", ""], 200.0),
        (["a b", "c"], ["", "c"], 200.0),
    ):
        assert evaluate(lines, [references], ["wer"])["wer"].value == value == 100 * jiwer.wer(references, lines)


@given(words, words)
def test_alignments_contain_both_lines_and_the_counted_edits(reference: list[str], hypothesis: list[str]) -> None:
    pairs = align(reference, hypothesis)
    assert [a for a, _ in pairs if a is not None] == reference
    assert [b for _, b in pairs if b is not None] == hypothesis
    assert (None, None) not in pairs
    edits = count_edits(reference, hypothesis)
    assert edits.deletions == sum(b is None for _, b in pairs)
    assert edits.insertions == sum(a is None for a, _ in pairs)
    assert edits.substitutions == sum(a is not None and b is not None and a != b for a, b in pairs)


def test_the_signature_names_the_normalization() -> None:
    assert wer(["a"], [["a"]], norm="plain").score().signature == "nrefs:1|case:mixed|unit:token|norm:plain"
    assert cer(["a"], [["a"]], norm="lower").score().signature == "nrefs:1|case:mixed|unit:character|norm:lower"
