"""Objectives on samples: their expectation over all samples against the gradient of the expected reward; variance."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference.tabular import (
    BOS,
    EOS,
    MAX_LENGTH,
    PAD,
    VOCAB_SIZE,
    TabularRecognizer,
    TabularTranslator,
    Vocabulary,
    all_actions,
    one_pair,
    one_recording,
)
from reference.tiny_models import make_batch, make_model
from torch import Tensor

import seqlab
from seqlab.data.batch import collate_text
from seqlab.models import TransformerLmConfig
from seqlab.objectives import MinimumRiskConfig, PolicyGradientConfig, StepContext, TextSide
from seqlab.objectives.sampled import Rewards, Samples
from seqlab.objectives.sampled_objective import SampledConfig, SampledObjective
from seqlab.registry import register
from seqlab.search.ctc import sample_outputs
from seqlab.testing import random_examples

SIDE = TextSide(Vocabulary())
CONTEXT = StepContext(0, sides=(SIDE, SIDE))
OPTIONS: Any = {"reward": "hash", "max_length": MAX_LENGTH}
DISCOUNTED = {"returns": "to_go", "discount": 0.5}
UNBIASED: dict[str, dict[str, Any]] = {
    "total reward": {"baseline": "none", "num_samples": 1},
    "reward to go": {"baseline": "none", "returns": "to_go", "num_samples": 1},
    "moving mean": {"baseline": "moving_mean", "num_samples": 1},
    "moving mean, to go": {"baseline": "moving_mean", "returns": "to_go", "num_samples": 1},
    "greedy": {"baseline": "greedy", "num_samples": 1},
    "greedy, to go": {"baseline": "greedy", "returns": "to_go", "num_samples": 1},
    "critic": {"baseline": "critic", "num_samples": 1},
    "critic, to go": {"baseline": "critic", "returns": "to_go", "num_samples": 1},
    "other samples": {"baseline": "other_samples", "num_samples": 2},
    "other samples, to go": {"baseline": "other_samples", "returns": "to_go", "num_samples": 2},
}
BIASED: dict[str, dict[str, Any]] = {
    "discount": {"baseline": "none", "num_samples": 1, **DISCOUNTED},
    "advantages of one step": {"baseline": "critic", "returns": "to_go", "num_samples": 1, "trace_decay": 0.0},
    "standardized": {"baseline": "other_samples", "num_samples": 2, "standardize": True},
}


def hash_reward(hypothesis: str, reference: str) -> float:
    """Return an arbitrary number from 0 to 1 for each pair of texts."""
    return zlib.crc32(f"{hypothesis}|{reference}".encode()) / 2**32


def letters_reward(hypothesis: str, reference: str) -> float:
    """Return a sum over letters: a reward whose increase by a letter does not depend on the other letters."""
    return sum(hash_reward(f"{position}{letter}", reference) for position, letter in enumerate(hypothesis))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from seqlab import registry

    monkeypatch.setattr(registry, "_parts", {kind: dict(parts) for kind, parts in registry._parts.items()})
    register("reward", "hash", summary="for tests")(hash_reward)
    register("reward", "letters", summary="for tests")(letters_reward)


class Expectation:
    """Mean and second moment of the gradient estimate over all tuples of samples, weighted by their probabilities."""

    def __init__(self, config: SampledConfig, model: Any, batch: Any, samples: dict[tuple[int, ...], float]) -> None:
        self.model, self.batch = model, batch
        torch.manual_seed(0)
        self.objective: SampledObjective = config.build_for(model)
        if hasattr(self.objective, "moving_mean"):
            self.objective.moving_mean.value.fill_(0.37)
        self.mean, self.square = torch.zeros_like(model.table), 0.0
        for drawn in product(samples.items(), repeat=config.num_samples):
            probability = torch.tensor([each for _, each in drawn]).prod().item()
            gradient = self.gradient([list(ids) for ids, _ in drawn])
            self.mean += probability * gradient
            self.square += probability * float(gradient.square().sum())

    def gradient(self, drawn: Sequence[Sequence[int]]) -> Tensor:
        """Return the gradient of the loss for given samples."""
        self.objective.draw = lambda *args: [list(each) for each in drawn]  # type: ignore[method-assign]
        self.model.table.grad = None
        self.objective(self.model, self.batch, CONTEXT).total.backward()
        gradient: Tensor = self.model.table.grad
        return gradient

    @property
    def variance(self) -> float:
        """Sum of the variances of all elements."""
        return self.square - float(self.mean.square().sum())


def translator_samples(model: TabularTranslator) -> dict[tuple[int, ...], Tensor]:
    """Return the probability of each sample, differentiable."""
    found = {}
    for ids in all_actions():
        row, log_prob = 0, torch.zeros((), dtype=torch.float64)
        for index in ids:
            log_prob = log_prob + model.table[row].log_softmax(-1)[index]
            row = VOCAB_SIZE * row + index + 1
        found[tuple(ids)] = log_prob.exp()
    return found


def recognizer_samples(model: TabularRecognizer) -> dict[tuple[int, ...], Tensor]:
    """Return the probability of each output, with eos, summed over its paths."""
    probs = model.table.softmax(-1)
    found: dict[tuple[int, ...], Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    for path in product(range(VOCAB_SIZE), repeat=model.num_frames):
        output = [index for index, _ in groupby(path) if index != model.blank_id]
        found[(*output, EOS)] = (
            found[(*output, EOS)] + torch.stack([p[i] for p, i in zip(probs, path, strict=True)]).prod()
        )
    return dict(found)


def text_of(ids: Sequence[int]) -> str:
    """Convert ids up to eos to letters, without padding and bos."""
    text = ""
    for index in ids:
        if index == EOS:
            break
        text += "" if index in (PAD, BOS) else "pbeuxy"[index]
    return text


def exact_gradient(model: Any, samples: dict[tuple[int, ...], Tensor]) -> Tensor:
    """Return the gradient of the negative expected reward, summed over all samples."""
    expected = torch.stack([p * hash_reward(text_of(ids), "ux") for ids, p in samples.items()]).sum()
    (gradient,) = torch.autograd.grad(-expected, [model.table])
    return gradient


def values_of(samples: dict[tuple[int, ...], Tensor]) -> dict[tuple[int, ...], float]:
    return {ids: p.item() for ids, p in samples.items()}


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def expectation(fields: dict[str, Any], reward: str = "hash") -> tuple[Expectation, Tensor]:
    model = TabularTranslator()
    samples = translator_samples(model)
    config = PolicyGradientConfig(reward=reward, max_length=MAX_LENGTH, **fields)
    return Expectation(config, model, one_pair(), values_of(samples)), exact_gradient(model, samples)


def report(name: str, found: Expectation, exact: Tensor) -> None:
    """Print the bias and the variance, for docs/results/rewards.md."""
    cosine = float((found.mean * exact).sum() / found.mean.norm() / exact.norm())
    variances = found.variance, expectation((UNBIASED | BIASED)[name], "letters")[0].variance
    shown = " | ".join(f"{value:.2g}" for value in (relative_error(found.mean, exact), cosine, *variances))
    print(f"| {name} | {shown} |")


@pytest.mark.parametrize("name", UNBIASED)
def test_the_expectation_is_the_gradient_of_the_expected_reward(name: str) -> None:
    found, exact = expectation(UNBIASED[name])
    report(name, found, exact)
    assert relative_error(found.mean, exact) < 1e-4


@pytest.mark.parametrize("name", BIASED)
def test_the_bias_of_the_others_is_not_zero(name: str) -> None:
    found, exact = expectation(BIASED[name])
    report(name, found, exact)
    assert relative_error(found.mean, exact) > 1e-2


def test_reward_to_go_and_baselines_lower_the_variance() -> None:
    names = ["total reward", "reward to go", "moving mean, to go", "greedy, to go"]
    total, to_go, *with_baselines = (expectation(UNBIASED[name], "letters")[0].variance for name in names)
    assert total > to_go > max(with_baselines)
    pairs: list[dict[str, Any]] = [{"baseline": each, "num_samples": 2} for each in ("none", "other_samples")]
    without, with_others = (expectation(fields, "letters")[0].variance for fields in pairs)
    assert without > with_others


def test_the_start_penalty_adds_the_gradient_of_the_kl_divergence() -> None:
    model = TabularTranslator()
    config = PolicyGradientConfig(**OPTIONS, baseline="none", num_samples=1, start_penalty=0.3)
    start = values_of(translator_samples(model))
    objective = config.build_for(model)
    with torch.no_grad():
        model.table.add_(
            torch.randn(model.table.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        )
    samples = translator_samples(model)
    divergence = torch.stack([p * (p.log() - torch.tensor(start[ids]).log()) for ids, p in samples.items()]).sum()
    (penalty,) = torch.autograd.grad(0.3 * divergence, [model.table], retain_graph=True)
    exact = exact_gradient(model, samples) + penalty
    found = torch.zeros_like(exact)
    for ids, probability in values_of(samples).items():
        objective.draw = lambda *args, ids=ids: [list(ids)]  # type: ignore[method-assign]
        model.table.grad = None
        objective(model, one_pair(), CONTEXT).total.backward()
        assert model.table.grad is not None
        found += probability * model.table.grad
    assert relative_error(found, exact) < 1e-4


def test_the_expectation_of_ctc_sums_over_all_paths() -> None:
    model = TabularRecognizer()
    samples = recognizer_samples(model)
    exact = exact_gradient(model, samples)
    for fields in ({"baseline": "none", "num_samples": 1}, {"baseline": "greedy", "num_samples": 1}):
        config = PolicyGradientConfig(**OPTIONS, **fields)
        found = Expectation(config, model, one_recording(), values_of(samples))
        assert relative_error(found.mean, exact) < 1e-4


def test_minimum_risk_is_exact_over_all_sequences_and_biased_over_few() -> None:
    model = TabularTranslator()
    samples = translator_samples(model)
    exact = exact_gradient(model, samples)
    config = MinimumRiskConfig(**OPTIONS, num_samples=len(samples), sharpness=1.0)
    objective = config.build_for(model)
    objective.draw = lambda *args: [list(ids) for ids in samples]  # type: ignore[method-assign]
    objective(model, one_pair(), CONTEXT).total.backward()
    assert model.table.grad is not None
    assert relative_error(model.table.grad, exact) < 1e-4
    few = MinimumRiskConfig(**OPTIONS, num_samples=2, sharpness=1.0)
    assert relative_error(Expectation(few, model, one_pair(), values_of(samples)).mean, exact) > 1e-2


def test_random_paths_match_their_definition() -> None:
    """Inverse CDF in each frame; the numbers depend on seed, row and sample, not on the batch."""
    model = TabularRecognizer()
    probs = model.table.detach().float().softmax(-1).double()
    found = sample_outputs(model, one_recording(), 9, [4], 3)
    for number, output in enumerate(found):
        key, counter = np.array([9, 4], np.uint64), np.array([0, 0, 0, number], np.uint64)
        uniforms = np.random.Generator(np.random.Philox(key=key, counter=counter)).random(model.num_frames)
        path = [
            int(np.searchsorted(p.cumsum(0).numpy(), u, side="right")) for p, u in zip(probs, uniforms, strict=True)
        ]
        assert output == [index for index, _ in groupby(path) if index != model.blank_id]


def test_a_longer_greedy_output_keeps_its_later_rewards_as_baseline() -> None:
    """The returns of its first two ids are 0.8 and 0.7, however short the samples are."""
    config = PolicyGradientConfig(returns="to_go", baseline="greedy", num_samples=1)
    done = Future[Rewards]()
    done.set_result(Rewards(torch.tensor([0.8]), torch.tensor([[0.1, 0.1, 0.1, 0.5]])))
    rewards = torch.zeros(1, 2)
    samples = Samples([[3, EOS]], done, greedy_rewards=done)
    advantages = config.build_for(TabularTranslator())._advantages(rewards, rewards, None, samples)
    assert advantages.tolist() == [pytest.approx([-0.8, -0.7])]


def test_without_an_update_the_distance_to_the_start_is_0_whatever_the_dropout() -> None:
    model = make_model(dropout=0.5)
    objective = PolicyGradientConfig(reward="chrf", start_penalty=0.1, max_length=12).build_for(model)
    sides = TextSide(random_examples.Vocabulary()), TextSide(random_examples.Vocabulary())
    loss = objective(model, make_batch([(3, 4), (5, 2)]), StepContext(0, sides=sides))
    assert loss.sums()["start_distance"].item() == 0
    assert loss.total.item() != 0


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (PolicyGradientConfig, {"standardize": True, "baseline": "none"}, "needs `baseline: other_samples`"),
        (PolicyGradientConfig, {"clip": 0.1}, r"`clip` \(0.1\) needs `passes` above 1"),
        (PolicyGradientConfig, {"critic_weight": 0.5}, r"`critic_weight` \(0.5\) needs `baseline: critic`"),
        (PolicyGradientConfig, {"baseline_decay": 0.5}, r"`baseline_decay` \(0.5\) needs `baseline: moving_mean`"),
        (MinimumRiskConfig, {"num_samples": 1}, "`num_samples` must be at least 2"),
    ],
)
def test_settings_without_a_sensible_gradient_are_refused(config: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**fields)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data.documents": "continuous"}, "compares samples with lines"),
        ({"data.documents": "lines", "objective.label_smoothing": 0.3}, "needs `objective.cross_entropy` above 0"),
    ],
)
def test_configs_without_a_sensible_reward_are_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    """The rows of a continuous text are pieces of it."""
    text = tmp_path / "text"
    text.write_text("a b\n")
    fields = {"data.train": str(text), "data.valid": str(text), "model.family": "lstm_lm"}
    with pytest.raises(ValueError, match=message):
        seqlab.config_for({**fields, "objective.family": "policy_gradient", **wrong})


def test_a_reward_of_a_prefix_that_is_not_finite_is_refused() -> None:
    register("reward", "divided", summary="for tests")(lambda text, _: 1 / len(text) if text else np.nan)
    config = PolicyGradientConfig(**OPTIONS | {"reward": "divided", "returns": "to_go"})
    objective = config.build_for(TabularTranslator())
    with pytest.raises(ValueError, match=r"must be finite and at most 1e\+38, but is nan for the hypothesis ''"):
        objective(TabularTranslator(), one_pair(), CONTEXT)


def test_a_reward_that_fails_is_named_with_its_texts() -> None:
    register("reward", "failing", summary="for tests")(lambda hypothesis, reference: None)
    objective = PolicyGradientConfig(**{**OPTIONS, "reward": "failing"}).build_for(TabularTranslator())
    with pytest.raises(ValueError, match=r"The reward `failing` failed for the hypothesis .*reference .*TypeError"):
        objective(TabularTranslator(), one_pair(), CONTEXT)


def test_a_reward_beyond_single_precision_is_refused() -> None:
    register("reward", "huge", summary="for tests")(lambda hypothesis, reference: -1e39)
    objective = PolicyGradientConfig(**{**OPTIONS, "reward": "huge"}).build_for(TabularTranslator())
    with pytest.raises(ValueError, match=r"must be finite and at most 1e\+38, but is -1e\+39"):
        objective(TabularTranslator(), one_pair(), CONTEXT)


@pytest.mark.parametrize("baseline", ["other_samples", "greedy"])
def test_batches_without_targets_ask_for_no_reward(baseline: Any) -> None:
    """They are repeated by ranks that have fewer batches than others."""
    register("reward", "by_length", summary="for tests")(lambda hypothesis, reference: 1 / len(reference))
    model = make_model()
    config = PolicyGradientConfig(reward="by_length", baseline=baseline, num_samples=2, max_length=8)
    sides = TextSide(random_examples.Vocabulary()), TextSide(random_examples.Vocabulary())
    loss = config.build_for(model)(model, make_batch([(3, 4), (5, 2)]).without_targets(), StepContext(0, sides=sides))
    assert all(value.item() == 0 for value in loss.sums().values())


def test_candidates_of_a_language_model_do_not_continue_the_reference() -> None:
    torch.manual_seed(1)
    vocabulary = random_examples.Vocabulary()
    model = TransformerLmConfig(d_model=16, d_ff=32, num_heads=2, num_layers=1, max_length=16).build(
        vocabulary, vocabulary
    )
    objective = MinimumRiskConfig(reward="chrf", num_samples=3, max_length=6, candidates="beam").build_for(model)
    context = StepContext(0, sides=(TextSide(vocabulary), TextSide(vocabulary)))
    ids = [
        objective.collect(model, collate_text([[*row, vocabulary.eos_id]], [0], pad_id=0, start_id=1), context).ids
        for row in ([5, 6, 7], [8])
    ]
    assert ids[0] == ids[1]


def test_candidates_of_a_recognizer_have_their_own_probabilities() -> None:
    """Limits of lengths do not hold for CTC, whose outputs always end with eos."""
    model = TabularRecognizer()
    object.__setattr__(model, "score_sequences", lambda frames, outputs: [[-1.0] * (len(ids) + 1) for ids in outputs])
    drawn = [
        MinimumRiskConfig(reward="cer", num_samples=3, candidates="beam", max_length=length)
        .build_for(model)
        .collect(model, one_recording(), CONTEXT)
        .ids
        for length in (200, 1)
    ]
    assert drawn[0] == drawn[1]
    assert all(ids[-1] == model.eos_id for ids in drawn[0])


def test_a_reward_that_is_not_finite_is_refused_with_its_texts() -> None:
    register("reward", "nothing", summary="for tests")(lambda hypothesis, reference: float("nan"))
    objective = PolicyGradientConfig(**{**OPTIONS, "reward": "nothing"}).build_for(TabularTranslator())
    with pytest.raises(
        ValueError,
        match=r"must be finite and at most 1e\+38, but is nan for the hypothesis '.*' and",
    ):
        objective(TabularTranslator(), one_pair(), CONTEXT)
