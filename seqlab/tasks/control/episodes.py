"""Behaviors, which choose actions with or without exploration, and the episodes that they play, as tensors.

Shapes: B episodes or observations, T actions of the longest episode, N transitions, S the shape of an observation,
A actions or values of an action, O outputs of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from seqlab.data.batch import BaseBatch, ValueBatch
from seqlab.data.epoch import derive_seed
from seqlab.objectives.returns import generalized_advantages
from seqlab.search.sampling import UniformNumbers
from seqlab.tasks.control.config import EnvironmentSpec
from seqlab.tasks.control.environment import ActionCodec, Environment

Device = torch.device | str
MAX_STEPS_COMPARED = 200
"""Steps after which an environment counts as one that repeats itself from its seed."""


class Behavior(Protocol):
    """Rule for actions, given observations."""

    num_uniforms: int
    """Random numbers that an action needs."""

    def __call__(self, observations: Tensor, uniforms: Tensor) -> Tensor:
        """Choose actions, (B,) int64 or (B, A) float32.

        Args:
            observations: (B, *S).
            uniforms: (B, `num_uniforms`) float64, uniform in [0, 1).
        """


def values_of(model: Any, observations: Tensor) -> Tensor:
    """Compute the outputs (B, O) in fp32 of a predictor for observations (B, *S)."""
    rows = torch.arange(len(observations), device=observations.device)
    outputs: Tensor = model(ValueBatch(observations, torch.full_like(rows, observations.size(-2)), None, rows, 0))
    return outputs.float()


def scale_to_bounds(outputs: Tensor, codec: ActionCodec) -> Tensor:
    """Map outputs (..., A) to the bounds of the values of actions, by tanh."""
    low, high = codec.bounds(outputs)
    return low + (torch.tanh(outputs) + 1) / 2 * (high - low)


class Greedy:
    """The action with the largest output of the model, or its output scaled to the bounds."""

    num_uniforms = 0

    def __init__(self, model: Any, codec: ActionCodec) -> None:
        self.model, self.codec = model, codec

    def __call__(self, observations: Tensor, uniforms: Tensor | None = None) -> Tensor:
        """Choose actions: (B,) or (B, A)."""
        outputs = values_of(self.model, observations)
        return outputs.argmax(1) if self.codec.is_discrete else scale_to_bounds(outputs, self.codec)


class Softmax:
    """Action drawn from the softmax of the outputs of the model."""

    num_uniforms = 1

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, observations: Tensor, uniforms: Tensor) -> Tensor:
        """Draw actions by inverse CDF: (B,)."""
        cumulative = values_of(self.model, observations).double().softmax(1).cumsum(1)
        return (cumulative[:, :-1] <= uniforms * cumulative[:, -1:]).sum(1)

    def distribution(self, observations: Tensor) -> Distribution:
        """Return the distribution of actions (B,)."""
        return Categorical(logits=values_of(self.model, observations), validate_args=False)


class Gaussian:
    """Action drawn from a normal distribution around the output of the model, scaled to the bounds."""

    def __init__(self, model: Any, codec: ActionCodec, deviation: Tensor) -> None:
        """`deviation` (A,): standard deviation, as a share of half the range of a value."""
        low, high = codec.bounds(deviation)
        self.mean, self.num_uniforms, self.deviation = Greedy(model, codec), codec.size, deviation * (high - low) / 2

    def __call__(self, observations: Tensor, uniforms: Tensor) -> Tensor:
        """Draw actions by inverse CDF: (B, A)."""
        noise = torch.special.ndtri(uniforms.clamp(1e-12, 1 - 1e-12)).float()
        return self.mean(observations) + noise * self.deviation.to(noise.device)

    def distribution(self, observations: Tensor) -> Distribution:
        """Return the distribution of actions (B, A)."""
        mean = self.mean(observations)
        return Independent(Normal(mean, self.deviation, validate_args=False), 1, validate_args=False)


class EpsilonGreedy:
    """A random action with probability epsilon, else the greedy one."""

    num_uniforms = 2

    def __init__(self, model: Any, codec: ActionCodec, epsilon: float) -> None:
        self.greedy, self.epsilon, self.random = Greedy(model, codec), epsilon, Uniform(codec)

    def __call__(self, observations: Tensor, uniforms: Tensor) -> Tensor:
        """Draw actions: (B,)."""
        is_random = uniforms[:, 0] < self.epsilon
        return self.random(observations, uniforms[:, 1:]).where(is_random, self.greedy(observations))


class Uniform:
    """Uniformly random action."""

    def __init__(self, codec: ActionCodec) -> None:
        self.codec, self.num_uniforms = codec, 1 if codec.is_discrete else codec.size

    def __call__(self, observations: Tensor, uniforms: Tensor) -> Tensor:
        """Draw actions: (B,) or (B, A)."""
        if self.codec.is_discrete:
            return (uniforms[:, 0] * self.codec.size).long()
        low, high = self.codec.bounds(uniforms)
        return (low + uniforms * (high - low)).float()


@dataclass(frozen=True)
class EpisodeBatch(BaseBatch):
    """The numbers of episodes to play; the objective plays them with the current model."""

    indices: Tensor  # (B,) int64: number of each episode, from 0
    num_targets: int  # B

    def without_targets(self) -> EpisodeBatch:
        """Return a batch that counts no episode."""
        return replace(self, num_targets=0)


class Transitions(NamedTuple):
    """Single actions and what followed them."""

    observations: Tensor  # (N, *S)
    actions: Tensor  # (N,) int64 or (N, A) float32
    rewards: Tensor  # (N,)
    next_observations: Tensor  # (N, *S)
    terminated: Tensor  # (N,) bool: whether the episode ended in a final state


@dataclass
class Episodes:
    """Episodes, padded after their ends, where rewards are 0."""

    observations: Tensor  # (B, T + 1, *S); the last one of an episode follows its last action
    actions: Tensor  # (B, T) int64 or (B, T, A) float32
    rewards: Tensor  # (B, T)
    terminated: Tensor  # (B, T) bool: whether an action led to a final state; an episode without one was cut
    mask: Tensor  # (B, T) bool: whether there is an action
    fixed: dict[str, Tensor] = field(default_factory=dict, init=False)
    """Tensors that the first update computes for the later ones."""

    @property
    def lengths(self) -> Tensor:
        """(B,) int64: number of actions."""
        return self.mask.sum(1)

    @property
    def last_rows(self) -> Tensor:
        """(B, T) bool: whether an action is the last one of its episode."""
        return torch.arange(1, self.mask.size(1) + 1, device=self.mask.device) == self.lengths[:, None]

    @property
    def returns(self) -> Tensor:
        """(B,): sum of the rewards of each episode."""
        return self.rewards.sum(1)

    def transitions(self) -> Transitions:
        """Return the transitions of all episodes, one episode after the other."""
        before, after = self.observations[:, :-1], self.observations[:, 1:]
        steps = (before, self.actions, self.rewards, after, self.terminated)
        return Transitions(*(values[self.mask] for values in steps))

    def outputs(self, model: Any) -> Tensor:
        """Compute the outputs of a model for all observations: (B, T + 1, O), 0 after the last one."""
        exists = torch.nn.functional.pad(self.mask, (1, 0), value=True)
        outputs = values_of(model, self.observations[exists])
        return outputs.new_zeros(*exists.shape, outputs.size(1)).masked_scatter(exists[..., None], outputs)

    def lambda_returns(self, values: Tensor, discount: float, trace_decay: float = 1.0) -> Tensor:
        """Return the lambda-return of each action (B, T) (Sutton and Barto 2018, section 12.1).

        `values` (B, T + 1) are estimates for the observations. That of the last one counts if the episode was cut. With
        a `trace_decay` of 1 no other one counts.
        """
        values, is_cut = values.detach(), self.last_rows & ~self.terminated
        rewards, before = self.rewards + discount * values[:, 1:] * is_cut, values[:, :-1] * self.mask
        return before + generalized_advantages(rewards, before, discount, trace_decay)


class Player:
    """Environments in which episodes are played side by side, with one call of the model for an action of each."""

    def __init__(self, spec: EnvironmentSpec, render: bool = False) -> None:
        self.spec, self.render = spec, render
        self.environments: list[Environment] = []

    @torch.no_grad()
    def play(self, behavior: Behavior, indices: Sequence[int], seed: int, device: Device = "cpu") -> Episodes:
        """Play episodes, each in an environment of its own; they are made at the first use.

        Episode number i depends only on the seed, i, and the behavior.
        """
        count, draws = len(indices), UniformNumbers(seed, indices, behavior.num_uniforms)
        self.environments += [Environment(self.spec, self.render) for _ in indices[len(self.environments) :]]
        environments = self.environments[:count]
        current = [env.reset(derive_seed(seed, index)) for env, index in zip(environments, indices, strict=True)]
        history, steps, is_active = [np.stack(current)], [], np.ones(count, bool)
        while is_active.any():
            uniform = torch.from_numpy(draws.draw(list(range(len(draws.streams)))).reshape(count, -1))
            # Ended episodes stay in the batch, so that its size does not depend on the lengths of others.
            actions = behavior(torch.from_numpy(history[-1]).to(device), uniform.to(device)).cpu().numpy()
            mask, rewards, terminated = is_active.copy(), np.zeros(count, np.float32), np.zeros_like(is_active)
            for row in np.flatnonzero(mask):
                current[row], rewards[row], terminated[row], is_cut = environments[row].step(actions[row])
                is_active[row] = not (terminated[row] or is_cut)
            history.append(np.stack(current))
            steps.append((actions, rewards, terminated, mask))
        columns = (history, *zip(*steps, strict=True))
        return Episodes(*(torch.from_numpy(np.stack(column, axis=1)).to(device) for column in columns))


def repeats_itself(environment: Environment, seed: int) -> bool:
    """Return whether an episode with random actions repeats itself after another one, in another environment."""
    limit = min(environment.limit, MAX_STEPS_COMPARED)
    spec, behavior = replace(environment.spec, max_episode_steps=limit), Uniform(environment.actions)
    first, second = Player(spec), Player(spec)
    second.play(behavior, [1], seed)
    one, other = (vars(player.play(behavior, [0], seed)) for player in (first, second))
    for player in (first, second):
        player.environments[0].close()
    return all(one[name].equal(other[name]) for name in ("observations", "rewards", "terminated", "mask"))
