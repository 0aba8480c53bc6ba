"""Play episodes side by side, and store them as tensors.

Shapes: B episodes, T actions of the longest one, N transitions, S the shape of an observation, A values of an action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.data.batch import BaseBatch, ValueBatch
from seqlab.data.epoch import derive_seed
from seqlab.search.sampling import UniformNumbers
from seqlab.tasks.control.config import EnvironmentSpec
from seqlab.tasks.control.environment import Environment


@dataclass(frozen=True)
class EpisodeBatch(BaseBatch):
    """The numbers of episodes to play; the objective plays them with the current model."""

    indices: Tensor  # (B,) int64: number of each episode, from 0
    num_targets: int  # B

    def without_targets(self) -> EpisodeBatch:
        """Return a batch that counts no episode."""
        return EpisodeBatch(self.indices, 0)


class Behavior(Protocol):
    """Rule for actions, given observations."""

    numbers: int
    """Random numbers that an action needs."""

    def __call__(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Choose actions, (B,) int64 or (B, A) float32.

        Args:
            observations: (B, *S).
            numbers: (B, `numbers`) float64, uniform in [0, 1).
        """
        ...


@dataclass
class Transitions:
    """Single actions and what followed them."""

    observations: Tensor  # (N, *S)
    actions: Tensor  # (N,) int64 or (N, A) float32
    rewards: Tensor  # (N,)
    next_observations: Tensor  # (N, *S)
    terminated: Tensor  # (N,) fp32: 1 if the episode ended in a final state, else 0

    def __getitem__(self, rows: Tensor) -> Transitions:
        return Transitions(*(value[rows] for value in vars(self).values()))


@dataclass
class Episodes:
    """Episodes, padded with zeros after their ends."""

    observations: Tensor  # (B, T + 1, *S); the last one of an episode follows its last action
    actions: Tensor  # (B, T) int64 or (B, T, A) float32
    rewards: Tensor  # (B, T)
    lengths: Tensor  # (B,) int64: number of actions
    terminated: Tensor  # (B,) bool: whether the episode ended in a final state, and was not cut

    @property
    def mask(self) -> Tensor:
        """(B, T) bool: whether there is an action."""
        return torch.arange(self.rewards.size(1), device=self.lengths.device) < self.lengths[:, None]

    @property
    def returns(self) -> Tensor:
        """(B,): sum of the rewards of each episode."""
        return self.rewards.sum(1)

    @property
    def last_rows(self) -> Tensor:
        """(B, T) bool: whether an action is the last one of its episode."""
        return torch.arange(self.rewards.size(1), device=self.lengths.device) == self.lengths[:, None] - 1

    def transitions(self) -> Transitions:
        """Return the transitions of all episodes, one episode after the other."""
        mask, terminated = self.mask, self.last_rows & self.terminated[:, None]
        return Transitions(
            self.observations[:, :-1][mask],
            self.actions[mask],
            self.rewards[mask],
            self.observations[:, 1:][mask],
            terminated[mask].float(),
        )


def values_of(model: Any, observations: Tensor) -> Tensor:
    """Compute the outputs (N, O) in fp32 of a predictor for observations (N, *S)."""
    rows = torch.arange(len(observations), device=observations.device)
    outputs: Tensor = model(ValueBatch(observations, torch.full_like(rows, observations.size(-2)), None, rows, 0))
    return outputs.float()


def values_of_states(model: Any, episodes: Episodes) -> Tensor:
    """Compute the outputs of a model for all observations of episodes: (B, T + 1, O), 0 after the last one."""
    count = episodes.observations.size(1)
    exists = torch.arange(count, device=episodes.lengths.device) <= episodes.lengths[:, None]
    outputs = values_of(model, episodes.observations[exists])
    return outputs.new_zeros(*exists.shape, outputs.size(1)).masked_scatter(exists[..., None], outputs)


def with_value_of_cut(episodes: Episodes, values: Tensor, discount: float) -> Tensor:
    """Add the value of the last state of each episode that was cut to its last reward: (B, T).

    `values` (B, T + 1) are the estimates of the values of the observations.
    """
    is_cut = episodes.last_rows & ~episodes.terminated[:, None]
    return episodes.rewards + discount * values[:, 1:] * is_cut


class Player:
    """Environments in which episodes are played side by side, with one call of the model for an action of each."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.spec = spec
        self.environments: list[Environment] = []

    @torch.no_grad()
    def play(
        self, behavior: Behavior, numbers: Sequence[int], seed: int, device: torch.device | str = "cpu"
    ) -> Episodes:
        """Play episodes, each in an environment of its own; they are made at the first use.

        Episode number i depends only on the seed, i, and the behavior.
        """
        self.environments += [Environment(self.spec) for _ in range(len(numbers) - len(self.environments))]
        draws = UniformNumbers(seed, numbers, behavior.numbers) if behavior.numbers else None
        rows = list(range(len(numbers) * behavior.numbers))
        current = np.stack(
            [env.reset(derive_seed(seed, number)) for env, number in zip(self.environments, numbers, strict=False)]
        )
        history, actions, rewards = [current.copy()], [], []
        lengths, terminated = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), bool)
        active = list(range(len(numbers)))
        while active:
            uniform = np.zeros((len(numbers), 0)) if draws is None else draws.draw(rows).reshape(len(numbers), -1)
            # Ended episodes stay in the batch, so that its size does not depend on the lengths of others.
            chosen = behavior(torch.from_numpy(current).to(device), torch.from_numpy(uniform).to(device)).cpu().numpy()
            step_rewards = np.zeros(len(numbers), np.float32)
            for row in list(active):
                outcome = self.environments[row].step(chosen[row])
                current[row], step_rewards[row] = outcome.observation, outcome.reward
                lengths[row] += 1
                if outcome.terminated or outcome.truncated:
                    terminated[row] = outcome.terminated
                    active.remove(row)
            history.append(current.copy())
            actions.append(chosen)
            rewards.append(step_rewards)
        return Episodes(
            _stack(history, device),
            _stack(actions, device),
            _stack(rewards, device),
            torch.from_numpy(lengths).to(device),
            torch.from_numpy(terminated).to(device),
        )


def _stack(steps: Sequence[NDArray[np.generic]], device: torch.device | str) -> Tensor:
    """Stack arrays (B, ...) of each step to a tensor (B, T, ...)."""
    return torch.from_numpy(np.stack(steps, axis=1)).to(device)
