"""Text of numbers: it reads back as the same number, and the short form hides no small one."""

import math
import random

import pytest

from seqlab.base.number_text import exact_text, short_text


def test_exact_text_reads_back_and_is_not_longer_than_repr() -> None:
    rng = random.Random(4)
    numbers = [rng.uniform(-1, 1) * 10.0 ** rng.randint(-30, 30) for _ in range(2000)]
    numbers += [round(each) for each in numbers if abs(each) < 1e20] + [0.1 + 0.2, 5e-324, 1e16, -1e15]
    for number in numbers:
        text = exact_text(number)
        assert float(text) == number
        assert len(text) <= len(repr(float(number)))


@pytest.mark.parametrize(
    ("number", "text"),
    [(1700000123.0, "1700000123"), (0.1, "0.1"), (-3.0, "-3"), (0.0, "0"), (1e16, "1e+16"), (math.inf, "inf")],
)
def test_exact_text(number: float, text: str) -> None:
    assert exact_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(75260.978, "75260.978"), (0.5, "0.500"), (0.0001234, "0.000123"), (-2e-9, "-2e-09"), (0.0, "0.000")],
)
def test_short_text_keeps_three_digits_of_small_numbers(number: float, text: str) -> None:
    assert short_text(number) == text
