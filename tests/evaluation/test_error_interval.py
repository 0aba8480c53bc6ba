"""Bootstrap interval of one system's score, against jiwer on the same resamples and the normal distribution."""

import json
import math
import random

import jiwer
import numpy as np
import pytest

from seqlab.evaluation import METRICS, bootstrap_interval
from seqlab.evaluation.bootstrap import SEED, compare_statistics


def test_the_interval_of_the_word_error_rate_matches_jiwer_on_resampled_lines() -> None:
    draw = random.Random(0)
    references = [" ".join(draw.choices("abcd", k=draw.randint(0, 6))) for _ in range(30)]
    hypotheses = [" ".join(draw.choices("abcd", k=draw.randint(0, 6))) for _ in range(30)]
    found = bootstrap_interval(METRICS["wer"](hypotheses, [references]), num_samples=200, seed=5)
    generator, rates = np.random.default_rng(5), []
    for _ in range(200):
        lines = generator.choice(30, size=30, replace=True)
        rates.append(100 * jiwer.wer([references[i] for i in lines], [hypotheses[i] for i in lines]))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(rates, [2.5, 97.5])))
    assert found.score.value == pytest.approx(100 * jiwer.wer(references, hypotheses))
    assert found.low < found.score.value < found.high


def test_the_interval_of_a_mean_matches_the_normal_distribution() -> None:
    references, count = ["x"] * 500, 500
    hypotheses = ["x"] * 400 + ["y"] * 100
    found = bootstrap_interval(METRICS["exact_match"](hypotheses, [references]), num_samples=4_000)
    error = 100 * math.sqrt(0.8 * 0.2 / count)
    assert (found.low, found.high) == pytest.approx((80 - 1.96 * error, 80 + 1.96 * error), abs=0.3)


def test_seed_and_samples_are_in_the_result() -> None:
    statistics = METRICS["wer"](["a b", "c", "d e f"], [["a", "c", "d e"]])
    found = bootstrap_interval(statistics)
    assert json.loads(json.dumps(found.as_dict())) == {
        "interval": [found.low, found.high],
        "num_samples": 1000,
        "seed": SEED,
    }
    assert found.as_line() == (
        f"wer 95% interval = {found.low:.2f} to {found.high:.2f} (bootstrap over lines, 1000 samples, seed {SEED})"
    )
    assert bootstrap_interval(statistics) == found


def test_invalid_resampling_is_refused() -> None:
    one, two = METRICS["wer"](["a"], [["a"]]), METRICS["wer"](["a", "b"], [["a", "b"]])
    with pytest.raises(ValueError, match="`num_samples` must be at least 1, but is 0"):
        bootstrap_interval(one, num_samples=0)
    with pytest.raises(ValueError, match="at least 1 line to resample"):
        bootstrap_interval(METRICS["wer"]([], [[]]))
    with pytest.raises(ValueError, match="there are 1 and 2"):
        compare_statistics(one, two)
