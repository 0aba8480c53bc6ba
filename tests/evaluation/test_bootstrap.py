"""Paired bootstrap against sacrebleu, the normal distribution, and simulated equal systems."""

import json
import math
import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from seqlab.evaluation import METRICS, compare
from seqlab.evaluation.bootstrap import resampled_scores

WORDS = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"]
NUMBER_METRICS = ("label_macro_f1", "mae", "rmse", "r2", "log_loss", "label_log_loss")
EXCLUDED = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "entity_f1",
    "entity_f1_strict",
    *NUMBER_METRICS,
    "repeated",
    "length_error",
)
"""Metrics of labels (as many per line as in the reference), of numbers, and of errors absent from these systems."""
NOT_INSTALLED = ("bleu_ja_mecab", "bleu_flores200")
"""Metrics with tokenizers that are not installed with seqlab."""
TEXT_METRICS = [name for name in METRICS if name not in (*EXCLUDED, *NOT_INSTALLED)]


def add_noise(lines, rate, seed):
    draw = random.Random(seed)
    return [" ".join(draw.choice(WORDS) if draw.random() < rate else w for w in line.split()) for line in lines]


def random_lines(count, seed):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(4, 12))) for _ in range(count)]


REFERENCE = random_lines(80, 0)
BETTER, WORSE = add_noise(REFERENCE, 0.1, 1), add_noise(REFERENCE, 0.4, 2)


@pytest.mark.parametrize(("name", "metric"), [("bleu", BLEU), ("chrf", CHRF), ("ter", TER)])
def test_mean_and_interval_match_sacrebleu(name, metric, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "77")
    named = [("baseline", WORSE), ("system", BETTER)]
    _, expected = PairedTest(named, {name: metric()}, [REFERENCE], test_type="bs", n_samples=300)()
    (baseline, system) = next(results for key, results in expected.items() if key != "System")
    found = resampled_scores([METRICS[name](lines, [REFERENCE]) for lines in (WORSE, BETTER)], 300, 77)
    for values, result in zip(found, (baseline, system), strict=True):
        assert values.mean() == pytest.approx(result.mean, rel=1e-5)
        ordered = np.sort(values)
        assert (ordered[300 - 300 // 40 - 1] - ordered[300 // 40]) / 2 == pytest.approx(result.ci, rel=1e-3)


def make_exact_match_pair(outcomes):
    """Make (system, baseline, references) from one pair per line: whether system and baseline are correct."""
    references = [str(index) for index in range(len(outcomes))]
    return (
        [ref if system else "wrong" for ref, (system, _) in zip(references, outcomes, strict=True)],
        [ref if baseline else "wrong" for ref, (_, baseline) in zip(references, outcomes, strict=True)],
        [references],
    )


@pytest.mark.parametrize(("won", "lost"), [(30, 20), (45, 20), (20, 26)])
def test_p_value_and_interval_of_a_mean_match_the_normal_distribution(won, lost):
    """Exact match is a mean over lines: with many lines, the bootstrap approximates the paired z test."""
    count = 500
    outcomes = [(1, 0)] * won + [(0, 1)] * lost + [(1, 1)] * (count - won - lost)
    result = compare(*make_exact_match_pair(outcomes), ["exact_match"], num_samples=4_000, seed=1)["exact_match"]
    mean = (won - lost) / count
    error = math.sqrt(((won + lost) / count - mean**2) / count)
    # differences are integer numbers of lines: continuity correction of half a line
    p_value = math.erfc((abs(mean) - 0.5 / count) / error / math.sqrt(2))
    assert result.difference == pytest.approx(100 * mean)
    assert result.p_value == pytest.approx(p_value, abs=0.02)
    assert result.interval == pytest.approx((100 * (mean - 1.96 * error), 100 * (mean + 1.96 * error)), abs=0.25)


def test_equal_systems_differ_significantly_in_1_of_20_tests():
    draw, significant, trials = random.Random(3), 0, 300
    for trial in range(trials):
        outcomes = [(draw.random() < 0.6, draw.random() < 0.6) for _ in range(120)]
        result = compare(*make_exact_match_pair(outcomes), ["exact_match"], num_samples=200, seed=trial)["exact_match"]
        significant += result.p_value < 0.05
    assert 0.01 < significant / trials < 0.10


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_equal_outputs_have_p_value_1(name):
    result = compare(BETTER, list(BETTER), [REFERENCE], [name], num_samples=50)[name]
    assert (result.difference, result.p_value, result.interval) == (0, 1, (0, 0))


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_a_large_difference_is_significant_and_changes_sign_with_the_order(name):
    result = compare(BETTER, WORSE, [REFERENCE], [name], num_samples=200)[name]
    exchanged = compare(WORSE, BETTER, [REFERENCE], [name], num_samples=200)[name]
    assert result.p_value == exchanged.p_value == pytest.approx(1 / 201)
    assert (result.difference > 0) == (name not in ("ter", "wer", "cer", "missing"))
    assert exchanged.difference == -result.difference
    assert exchanged.interval == pytest.approx((-result.interval[1], -result.interval[0]))
    assert result.interval[0] < result.difference < result.interval[1]


def test_results_depend_on_the_seed_and_contain_it():
    first, again, other = (compare(BETTER, WORSE, [REFERENCE], num_samples=50, seed=s)["bleu"] for s in (0, 0, 1))
    assert first == again
    assert first.interval != other.interval
    rendered = json.loads(json.dumps(first.as_dict()))
    assert (rendered["seed"], rendered["num_samples"], rendered["p_value"]) == (0, 50, first.p_value)
    assert rendered["system"]["signature"] == first.system.signature
    assert "50 samples, seed 0" in first.as_lines()[-1]
    assert len(first.as_lines()) == 3


def test_invalid_comparisons_are_refused():
    with pytest.raises(ValueError, match="2 hypotheses and 1 baseline lines"):
        compare(["a", "b"], ["a"], [["a", "b"]])
    with pytest.raises(ValueError, match="2 hypotheses and 1 references"):
        compare(["a", "b"], ["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="`num_samples` must be at least 1, but is 0 instead"):
        compare(["a"], ["a"], [["a"]], num_samples=0)
    with pytest.raises(ValueError, match="'per'"):
        compare(["a"], ["a"], [["a"]], ["per"])
