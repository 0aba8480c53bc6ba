"""Lexical complexity against IBM model 1 in plain loops, and for texts with known translations."""

import math
import random
from collections import Counter, defaultdict

import pytest

from seqlab.evaluation.complexity import EM_ITERATIONS, MAX_LINES, alternatives, lexical_complexity


def brute_force(src_lines: list[str], tgt_lines: list[str]) -> float:
    """Compute the lexical complexity by IBM model 1 with dictionaries."""
    lines = [(["", *src.split()], tgt.split()) for src, tgt in zip(src_lines, tgt_lines, strict=True)]
    lines = [(src, tgt) for src, tgt in lines if src[1:] and tgt]
    table = {(x, y): 1.0 for src, tgt in lines for x in src for y in tgt}
    for _ in range(EM_ITERATIONS):
        counts: dict[tuple[str, str], float] = defaultdict(float)
        for src, tgt in lines:
            for y in tgt:
                total = sum(table[x, y] for x in src)
                for x in src:
                    counts[x, y] += table[x, y] / total
        sums = Counter()
        for (x, _), count in counts.items():
            sums[x] += count
        table = {(x, y): count / sums[x] for (x, y), count in counts.items()}
    words = {x for x, _ in table} - {""}
    return -sum(p * math.log(p) for (x, _), p in table.items() if x and p) / len(words)


def make_text(count: int, translations: int) -> tuple[list[str], list[str]]:
    """Make source and target lines in which each word has `translations` equally frequent translations."""
    draw = random.Random(0)
    src, tgt = [], []
    for _ in range(count):
        words = draw.choices(range(30), k=draw.randint(1, 6))
        src.append(" ".join(f"s{word}" for word in words))
        tgt.append(" ".join(f"t{word}.{draw.randrange(translations)}" for word in words))
    return src, tgt


@pytest.mark.parametrize("translations", [1, 3])
def test_complexity_matches_ibm_model_1_in_loops(translations: int) -> None:
    src, tgt = make_text(60, translations)
    src, tgt = ["only here", *src, "", "here, too", ""], ["", *tgt, "", "", "only there"]
    assert lexical_complexity(src, tgt) == pytest.approx(brute_force(src, tgt))


def test_complexity_grows_with_the_log_of_the_number_of_translations() -> None:
    one, two, four = (lexical_complexity(*make_text(3000, translations)) for translations in (1, 2, 4))
    assert one < two < four
    assert two - one == pytest.approx(math.log(2), abs=0.3)
    assert four - two == pytest.approx(math.log(2), abs=0.3)


def test_empty_texts_have_a_complexity_of_zero() -> None:
    assert lexical_complexity([], []) == 0.0
    assert lexical_complexity(["", "a"], ["b", ""]) == 0.0
    assert lexical_complexity(["a"], ["b"]) == 0.0
    with pytest.raises(ValueError, match="but have 1 and 2"):
        lexical_complexity(["a"], ["b", "c"])


def test_large_texts_are_subsampled() -> None:
    src = ["a"] * 2 * MAX_LINES
    tgt = [f"x{line % 4}" for line in range(2 * MAX_LINES)]  # every second line: two of these four words
    assert lexical_complexity(src, tgt) == lexical_complexity(src[::2], tgt[::2]) > 0
    assert lexical_complexity(src[:MAX_LINES], tgt[:MAX_LINES]) > lexical_complexity(src, tgt)


def test_alternatives_are_proportional_to_the_number_of_translations() -> None:
    src, three = make_text(3000, 3)
    one = [" ".join(word.partition(".")[0] for word in line.split()) for line in three]
    score = alternatives(one, three, src)
    assert score.extra["of_references"] / score.value == pytest.approx(3.0, rel=0.3)
    assert score.value == pytest.approx(math.exp(score.extra["lexical_complexity"]))
