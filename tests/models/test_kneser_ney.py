"""Kneser-Ney estimation against reference equations in dictionaries, and against KenLM."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from reference.kneser_ney import KneserNey, Ngram

from seqlab.data.ragged import RaggedArray
from seqlab.models.kneser_ney import FALLBACK_DISCOUNTS, TextBoundaries, TrieLevel, estimate

PAD, BOS, EOS, UNK = range(4)
SPECIAL_IDS = (PAD, BOS, EOS)
every_boundaries = pytest.mark.parametrize("boundaries", ["lines", "continuous"])


def draw_documents(seed: int, vocab_size: int, documents: int) -> list[list[int]]:
    """Draw documents of 0 to 7 ids. Low ids are frequent, ids depend on the previous one, the highest never occurs."""
    draw = random.Random(seed)
    spread = vocab_size - 5
    rows = []
    for _ in range(documents):
        row: list[int] = []
        for _ in range(int(8 * draw.random())):
            row.append(UNK + (int(spread * draw.random() ** 3) + 3 * sum(row[-1:])) % spread)
        rows.append(row)
    return rows


def estimate_levels(
    documents: Sequence[Sequence[int]],
    order: int,
    vocab_size: int,
    boundaries: TextBoundaries = "lines",
    min_counts: Sequence[int] = (),
) -> list[TrieLevel]:
    return estimate(
        documents,
        order=order,
        vocab_size=vocab_size,
        pad_id=PAD,
        bos_id=BOS,
        eos_id=EOS,
        boundaries=boundaries,
        min_counts=min_counts,
    )


def decode_ngrams(levels: Sequence[TrieLevel], vocab_size: int) -> list[list[Ngram]]:
    """Decode the keys of each level to n-grams of ids."""
    found: list[list[Ngram]] = [[()]]
    for level in levels:
        assert (np.diff(level.keys) > 0).all()
        found.append([(*found[-1][key // vocab_size], int(key % vocab_size)) for key in level.keys])
    return found[1:]


@every_boundaries
@pytest.mark.parametrize("min_counts", [(), (1, 1, 2), (1, 2)])
@pytest.mark.parametrize(
    ("seed", "vocab_size", "documents", "order"), [(0, 7, 40, 3), (1, 12, 300, 4), (2, 60, 300, 3), (3, 9, 3, 5)]
)
def test_trie_equals_reference_equations(
    seed: int, vocab_size: int, documents: int, order: int, min_counts: tuple[int, ...], boundaries: TextBoundaries
) -> None:
    rows = draw_documents(seed, vocab_size, documents)
    reference = KneserNey(rows, order, vocab_size, SPECIAL_IDS, boundaries, min_counts)
    levels = estimate_levels(rows, order, vocab_size, boundaries, min_counts)
    ngrams_by_level = decode_ngrams(levels, vocab_size)
    kept = {ngram for ngram in reference.counts if len(ngram) > 1 and reference.is_kept(ngram)}
    assert {ngram for ngrams in ngrams_by_level[1:] for ngram in ngrams} == kept
    assert ngrams_by_level[0] == [(i,) for i in range(vocab_size)]
    for length, (level, ngrams) in enumerate(zip(levels, ngrams_by_level, strict=True), start=1):
        is_impossible = [length == 1 and ngram[0] in (PAD, BOS) for ngram in ngrams]
        expected = [
            -math.inf if impossible else math.log(reference.prob(ngram[-1], ngram[:-1]))
            for impossible, ngram in zip(is_impossible, ngrams, strict=True)
        ]
        np.testing.assert_allclose(level.log_probs, expected, rtol=0, atol=1e-12)
        if level is levels[-1]:
            assert len(level.backoffs) == 0
        else:
            # The probability of an id that never occurs after the context, divided by its lower-order probability.
            unseen = vocab_size - 1
            gammas = [reference.prob(unseen, ngram) / reference.prob(unseen, ngram[1:]) for ngram in ngrams]
            np.testing.assert_allclose(level.backoffs, np.log(gammas), rtol=0, atol=1e-12)


def test_missing_discounts_fall_back_to_defaults(caplog: pytest.LogCaptureFixture) -> None:
    """One corpus has orders with estimated discounts and orders with fallback discounts."""
    rows = draw_documents(2, 60, 300)
    reference = KneserNey(rows, 3, 60, SPECIAL_IDS, "lines")
    fell_back = [length for length, found in reference.discounts.items() if found == [*FALLBACK_DISCOUNTS[1:]]]
    assert 0 < len(fell_back) < 3
    estimate_levels(rows, 3, 60)  # warns
    assert [record.getMessage().split()[3] for record in caplog.records if record.name.startswith("seqlab")] == [
        f"{n}-grams" for n in fell_back
    ]


KENLM = """
-2.432615 w66 -0.3231913
-2.2728038 w128 -0.21401764
-2.3868215 w166 -0.30665445
-1.1100543 </s> 0
-1.749717 w108 w161 -0.019391382
-1.6264391 w72 w8 -0.019391382
-1.7151278 w110 w170 -0.019391382
-2.8745697 <s> w169 -0.019391382
-0.87193984 w48 </s> 0
-1.180502 w183 w165 w156 -0.002120232
-1.2246419 w32 w100 w144 -0.002120232
-1.0649492 w27 w11 w28 -0.002120232
-1.4155984 <s> w77 w177 -0.002120232
-0.57827383 w157 w72 </s> 0
-0.27499095 w19 w49 w161 </s>
-0.5731142 w143 w28 w81 w35
-1.2116506 <s> w4 w37 w164
-0.74557376 <s> w103 w102 </s>
-0.52732444 w56 w75 w198 </s>
"""
"""Lines of the output of `lmplz -o 4 --discount_fallback` for the lines of the next test, with w4 for id 4."""


def test_estimates_equal_those_of_kenlm() -> None:
    draw = random.Random(2)
    rows = []
    for _ in range(600):
        row = [4 + int(200 * draw.random() ** 3)]
        for _ in range(int(9 * draw.random())):
            row.append(4 + (int(200 * draw.random() ** 3) + (row[-1] - 4) * 3) % 200)
        rows.append(row)
    levels = estimate_levels(rows, 4, 204)
    assert [len(level.keys) for level in levels] == [204, 2435, 2931, 2459]  # one unigram more than KenLM, for padding
    indices = [{ngram: i for i, ngram in enumerate(ngrams)} for ngrams in decode_ngrams(levels, 204)]
    special = {"<s>": BOS, "</s>": EOS}
    for line in KENLM.strip().splitlines():
        log_prob, *words = line.split()
        backoff = float(words.pop()) if words[-1].lstrip("-")[0].isdigit() else None
        ngram = tuple(special[word] if word in special else int(word[1:]) for word in words)
        level, index = levels[len(ngram) - 1], indices[len(ngram) - 1][ngram]
        assert level.log_probs[index] / math.log(10) == pytest.approx(float(log_prob), abs=2e-6)  # KenLM's are fp32
        if backoff is not None:
            assert level.backoffs[index] / math.log(10) == pytest.approx(backoff, abs=2e-6)


def assert_equal(first: Sequence[TrieLevel], second: Sequence[TrieLevel]) -> None:
    for level, other_level in zip(first, second, strict=True):
        for array, other_array in zip(level, other_level, strict=True):
            np.testing.assert_array_equal(array, other_array)


@every_boundaries
def test_documents_may_have_any_integer_type(boundaries: TextBoundaries) -> None:
    rows = draw_documents(1, 12, 50)
    expected = estimate_levels(rows, 3, 12, boundaries)
    assert_equal(expected, estimate_levels(RaggedArray.from_lists(rows), 3, 12, boundaries))
    assert_equal(expected, estimate_levels([np.array(row, np.uint16) for row in rows], 3, 12, boundaries))


def test_estimates_are_independent_of_the_order_of_lines() -> None:
    rows = draw_documents(1, 12, 50)
    assert_equal(estimate_levels(rows, 4, 12), estimate_levels(rows[::-1], 4, 12))


def test_empty_lines_count_only_eos() -> None:
    """An empty line holds only eos, so its longest n-gram is the bigram of bos and eos."""
    (unigrams, bigrams) = estimate_levels([[], []], 5, 6)
    assert bigrams.keys.tolist() == [BOS * 6 + EOS]
    assert np.exp(unigrams.log_probs).sum() == pytest.approx(1, abs=1e-12)
    assert len(bigrams.backoffs) == 0


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "at least one document"),
        ([[5, 12]], "from 0 to 11, but are from 5 to 12"),
        ([[5], [-1]], "from 0 to 11, but are from -1 to 5"),
        ([[5], [6, EOS]], "but one holds 2"),
        ([[PAD]], "but one holds 0"),
    ],
)
def test_invalid_documents_are_refused(documents: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_levels(documents, 3, 12)


def test_invalid_boundaries_are_refused() -> None:
    with pytest.raises(ValueError, match="must be `lines` or `continuous`, but is `pages`"):
        estimate_levels([[5]], 3, 12, "pages")  # type: ignore[arg-type]
