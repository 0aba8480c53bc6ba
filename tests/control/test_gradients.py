"""Policy gradients on episodes: their expectation over all episodes of a toy against the gradient of its return."""

from itertools import product
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from reference.toy_environments import (
    ACYCLIC,
    FINAL,
    NUM_ACTIONS,
    NUM_STATES,
    Path,
    all_paths,
    episodes_of,
    state_values,
)
from torch import Tensor

from seqlab.models import (
    EncoderPredictorConfig,
    LinearEncoderConfig,
)
from seqlab.models.table import TableConfig
from seqlab.objectives import ModelFactory, StepContext
from seqlab.tasks.control.config import EnvironmentSpec
from seqlab.tasks.control.environment import Environment
from seqlab.tasks.control.episode_policy_gradient import EpisodePolicyGradientConfig
from seqlab.tasks.control.episodes import Episodes, Gaussian, Player, Softmax

TOY = EnvironmentSpec("Toy-v0")
CONTEXT = StepContext(0)
UNBIASED: dict[str, dict[str, Any]] = {
    "total, none": {"returns": "total", "baseline": "none", "discount": 0.8},
    "total, moving mean": {"returns": "total", "baseline": "moving_mean", "discount": 0.8},
    "total, other episodes": {"returns": "total", "baseline": "other_episodes", "discount": 0.8},
    "total, critic": {"returns": "total", "baseline": "critic", "discount": 0.8},
    "to go, none": {"baseline": "none"},
    "to go, moving mean": {"baseline": "moving_mean"},
    "to go, other episodes": {"baseline": "other_episodes"},
    "to go, critic": {"baseline": "critic"},
}
BIASED: dict[str, dict[str, Any]] = {
    "discounted to go": {"baseline": "none", "discount": 0.5},
    "one step": {"baseline": "critic", "trace_decay": 0.0},
    "half of the trace": {"baseline": "critic", "trace_decay": 0.5},
}


class Toy:
    """A table as policy, an objective for it, and all episodes with their probabilities."""

    def __init__(self, values: Tensor | None = None, **settings: Any) -> None:
        environment = Environment(TOY)
        factory = ModelFactory(TableConfig(), environment.observations, environment.actions)
        self.model = factory.build()
        weights = torch.randn(NUM_STATES, NUM_ACTIONS, generator=torch.Generator().manual_seed(1))
        self.model.weight.data.copy_(weights)
        self.settings: dict[str, Any] = {"discount": 1.0, **settings}
        self.objective = EpisodePolicyGradientConfig(**self.settings).build_for(self.model, factory)
        self.objective.moving_mean.value.fill_(0.4)
        if self.objective.critic is not None:
            random = torch.randn(NUM_STATES, 1, generator=torch.Generator().manual_seed(2))
            self.objective.critic.weight.data.copy_(random if values is None else values)
        self.policy = weights.double().softmax(1).requires_grad_()
        self.paths = list(all_paths(self.policy))

    def gradient(self, paths: list[Path]) -> Tensor:
        """Return the estimate of the gradient of the loss by some episodes."""
        loss = self.objective.loss(self.model, episodes_of(paths), CONTEXT).terms[0]
        [gradient] = torch.autograd.grad(loss.total / loss.count, [self.model.weight])
        return gradient.double()

    def moments(self) -> tuple[Tensor, float]:
        """Return the expectation of the estimate over all (pairs of) episodes, and the sum of its variances."""
        size = 2 if self.settings["baseline"] == "other_episodes" else 1
        mean, square = torch.zeros(NUM_STATES, NUM_ACTIONS, dtype=torch.float64), 0.0
        for paths in product(self.paths, repeat=size):
            probability = float(torch.stack([path.probability for path in paths]).prod())
            gradient = self.gradient(list(paths))
            mean += probability * gradient
            square += probability * float(gradient.square().sum())
        return mean, square - float(mean.square().sum())

    def exact(self) -> Tensor:
        """Return the gradient of the negative expected return with respect to the logits."""
        logits = self.model.weight.detach().double().requires_grad_()
        discount = self.settings["discount"]
        returns = [
            path.probability * sum(discount**t * reward for t, reward in enumerate(path.rewards))
            for path in all_paths(logits.softmax(1))
        ]
        [gradient] = torch.autograd.grad(-torch.stack(returns).sum(), [logits])
        return gradient

    def error(self) -> float:
        """Return the relative error of the expectation."""
        return float((self.moments()[0] - self.exact()).norm() / self.exact().norm())


def test_the_episodes_of_the_toy_are_all() -> None:
    paths = Toy(baseline="none").paths
    assert sum(path.probability.item() for path in paths) == pytest.approx(1)
    assert len(paths) == 11
    assert max(len(path.actions) for path in paths) == 3


@pytest.mark.parametrize("name", UNBIASED)
def test_the_expectation_is_the_gradient_of_the_expected_return(name: str) -> None:
    assert Toy(**UNBIASED[name]).error() < 1e-4


@pytest.mark.parametrize("name", BIASED)
def test_the_bias_of_the_other_variants(name: str) -> None:
    assert 0.05 < Toy(**BIASED[name]).error() < 2


def test_advantages_of_one_step_are_unbiased_if_the_critic_is_exact() -> None:
    policy = Toy(baseline="none").policy.detach().numpy()
    values = torch.from_numpy(state_values(ACYCLIC, policy, 1.0))[:, None].float()
    for decay in (0.0, 0.5):
        assert Toy(values, baseline="critic", trace_decay=decay).error() < 1e-4


def test_later_rewards_and_baselines_lower_the_variance() -> None:
    policy = Toy(baseline="none").policy.detach().numpy()
    values = torch.from_numpy(state_values(ACYCLIC, policy, 1.0))[:, None].float()
    total = Toy(baseline="none", returns="total").moments()[1]
    to_go = Toy(baseline="none").moments()[1]
    mean = Toy(baseline="moving_mean").moments()[1]
    critic = Toy(values, baseline="critic").moments()[1]
    assert critic < mean < to_go < total


def test_one_pass_is_the_plain_gradient_and_the_next_is_clipped() -> None:
    toy = Toy(baseline="none", passes=2, clip=0.1)
    paths = toy.paths[:5]
    episodes, logits = episodes_of(paths), toy.model.weight.detach().clone().requires_grad_()
    advantages = [sum(path.rewards[t:]) for path in paths for t in range(len(path.actions))]
    taken = [(s, a) for path in paths for s, a in zip(path.states, path.actions, strict=False)]
    log_probs = torch.stack([logits.log_softmax(1)[s, a] for s, a in taken])
    [plain] = torch.autograd.grad(-(log_probs * torch.tensor(advantages)).sum(), [logits])
    [first] = torch.autograd.grad(toy.objective.loss(toy.model, episodes, CONTEXT).total, [toy.model.weight])
    torch.testing.assert_close(first, plain)
    old = log_probs.detach().numpy()
    toy.model.weight.data.mul_(1.5)
    new = toy.model.weight.detach().log_softmax(1)
    ratios = np.exp(np.array([float(new[s, a]) for s, a in taken]) - old)
    gains = [min(r * a, min(max(r, 0.9), 1.1) * a) for r, a in zip(ratios, advantages, strict=True)]
    second = toy.objective.loss(toy.model, episodes, CONTEXT)
    assert float(second.total) == pytest.approx(-sum(gains), rel=1e-5)
    clipped = sum(gain != r * a for gain, r, a in zip(gains, ratios, advantages, strict=True))
    assert float(second.logs["clipped"][0]) == clipped > 0


def test_the_critic_learns_the_returns() -> None:
    toy = Toy(baseline="critic", critic_weight=0.5)
    paths = [toy.paths[0], toy.paths[-1]]
    term = toy.objective.loss(toy.model, episodes_of(paths), CONTEXT).terms[1]
    values = toy.objective.critic.weight[:, 0].tolist()
    errors = [
        (values[state] - sum(path.rewards[t:])) ** 2 for path in paths for t, state in enumerate(path.states[:-1])
    ]
    assert float(term.total) == pytest.approx(0.5 * sum(errors), rel=1e-5)
    assert float(term.count) == len(errors)


def test_the_entropy_of_the_policy() -> None:
    plain, entropic = Toy(baseline="none"), Toy(baseline="none", entropy=0.3)
    path = plain.paths[3]
    probs = plain.policy.detach()[path.states[:-1]]
    expected = -(probs * probs.log()).sum()
    losses = [each.objective.loss(each.model, episodes_of([path]), CONTEXT) for each in (plain, entropic)]
    assert float(losses[0].logs["entropy"][0]) == pytest.approx(float(expected), rel=1e-5)
    assert float(losses[1].total) == pytest.approx(float(losses[0].total - 0.3 * expected), rel=1e-5)


def test_played_episodes_have_the_probabilities_of_the_policy() -> None:
    toy, count = Toy(baseline="none"), 1500
    played = Player(TOY).play(Softmax(toy.model), range(count), seed=3)
    states = played.observations[:, :, 0].argmax(2)
    frequencies: dict[tuple[int, ...], int] = {}
    for row, length in enumerate(played.lengths.tolist()):
        key = (*states[row, : length + 1].tolist(), *played.actions[row, :length].tolist())
        frequencies[key] = frequencies.get(key, 0) + 1
    expected = {(*path.states, *path.actions): float(path.probability) for path in toy.paths}
    assert frequencies.keys() <= expected.keys()
    for key, p in expected.items():
        assert abs(frequencies.get(key, 0) - count * p) < 4 * (count * p * (1 - p)) ** 0.5 + 1
    assert bool(played.terminated.any(1).all())
    assert set(states[:, -1].tolist()) == {FINAL}


def test_gaussian_policy() -> None:
    environment = Environment(EnvironmentSpec("Odd-v0", ["action=box"]))
    model = EncoderPredictorConfig(encoder=LinearEncoderConfig()).build(environment.observations, environment.actions)
    torch.nn.init.normal_(model.head.project.weight)
    policy = Gaussian(model, environment.actions, torch.tensor([0.1, 0.2, 0.3, 0.4]))
    observations, numbers = torch.rand(5, 1, 3), torch.rand(5, 4, dtype=torch.float64)
    low, high = np.array([-2, 0, 1, -1]), np.array([2, 1, 3, 1])
    outputs = observations[:, 0] @ model.head.project.weight.T + model.head.project.bias
    means = (low + high) / 2 + np.tanh(outputs.detach().numpy()) * (high - low) / 2
    deviations = np.array([0.1, 0.2, 0.3, 0.4]) * (high - low) / 2
    actions = policy(observations, numbers).detach()
    for row, column in product(range(5), range(4)):
        normal = NormalDist(means[row, column], deviations[column])
        assert float(actions[row, column]) == pytest.approx(normal.inv_cdf(float(numbers[row, column])), abs=1e-4)
    expected = [
        sum(
            np.log(NormalDist(m, d).pdf(a))
            for m, d, a in zip(means[row], deviations, actions[row].tolist(), strict=True)
        )
        for row in range(5)
    ]
    np.testing.assert_allclose(policy.distribution(observations).log_prob(actions).detach(), expected, rtol=1e-4)


def test_entropy_and_log_probabilities_ignore_what_follows_an_end() -> None:
    toy = Toy(baseline="none")
    short, long = toy.paths[-1], toy.paths[0]
    assert len(short.actions) < len(long.actions)
    alone = toy.gradient([short])
    together = episodes_of([short, long])
    row = Episodes(*(getattr(together, n)[:1] for n in ("observations", "actions", "rewards", "terminated", "mask")))
    loss = toy.objective.loss(toy.model, row, CONTEXT)
    [padded] = torch.autograd.grad(loss.total, [toy.model.weight])
    torch.testing.assert_close(padded.double(), alone)
