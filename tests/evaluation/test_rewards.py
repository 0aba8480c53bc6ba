"""Rewards of sentences against sacrebleu and hand-counted edits, and their division among tokens."""

import math
import random

import pytest
from sacrebleu.metrics import BLEU, CHRF

from seqlab import registry
from seqlab.evaluation.rewards import (
    bleu_reward,
    cer_reward,
    chrf_reward,
    edit_distance_reward,
    exact_match_reward,
    prefix_rewards,
    wer_reward,
)
from seqlab.registry import register
from seqlab.runs.config import from_dict, parts_of

WORDS = ["a", "the", "cat,", "sat", "on", "mat.", "it's", "3.5", "dogs", "ran", "über", "猫"]


def random_pairs(count: int) -> list[tuple[str, str]]:
    draw = random.Random(3)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(0, 8))) for _ in range(2 * count)]
    return list(zip(texts[:count], texts[count:], strict=True))


def test_bleu_and_chrf_equal_sacrebleu() -> None:
    bleu, chrf = BLEU(smooth_method="add-k", smooth_value=1), CHRF()
    for hypothesis, reference in [*random_pairs(500), ("", "a"), ("a", ""), ("", "")]:
        expected = bleu.sentence_score(hypothesis, [reference]).score / 100
        assert bleu_reward(hypothesis, reference) == pytest.approx(expected, abs=1e-12)
        expected = chrf.sentence_score(hypothesis, [reference]).score / 100
        assert chrf_reward(hypothesis, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("hypothesis", "reference", "wer", "cer", "edits", "match"),
    [
        ("a b c", "a b c", 1.0, 1.0, 0.0, 1.0),
        ("a x c", "a b c", 2 / 3, 4 / 5, -1.0, 0.0),
        ("a b c d", "b", -2.0, -5.0, -6.0, 0.0),
        ("", "a b", 0.0, 0.0, -3.0, 0.0),
        ("a", "", 0.0, 0.0, -1.0, 0.0),
    ],
)
def test_rewards_of_edits(hypothesis: str, reference: str, wer: float, cer: float, edits: float, match: float) -> None:
    assert wer_reward(hypothesis, reference) == pytest.approx(wer)
    assert cer_reward(hypothesis, reference) == pytest.approx(cer)
    assert edit_distance_reward(hypothesis, reference) == edits
    assert exact_match_reward(hypothesis, reference) == match


def test_rewards_of_tokens_sum_to_that_of_the_hypothesis() -> None:
    for hypothesis, reference in random_pairs(50):
        words = hypothesis.split()
        prefixes = [" ".join(words[:end]) for end in range(len(words) + 1)]
        increases = prefix_rewards(chrf_reward, prefixes, reference)
        assert len(increases) == len(words)
        assert math.fsum(increases) == pytest.approx(chrf_reward(hypothesis, reference) - chrf_reward("", reference))


def test_a_run_records_the_reward_among_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the plugin of the reward is named if it is missing when the run is loaded."""
    monkeypatch.setattr(registry, "_parts", {kind: dict(parts) for kind, parts in registry._parts.items()})
    register("reward", "constant", summary="for tests")(lambda hypothesis, reference: 1.0)
    objective = {"family": "policy_gradient", "reward": "constant"}
    data = {"kind": "translation", "train_src": "a", "train_tgt": "b", "valid_fraction": 0.1}
    config = from_dict({"data": data, "objective": objective})
    assert ("reward", "constant") in {(entry.kind, entry.name) for entry in parts_of(config)}
