"""Returns and advantages of actions, given the reward of each action (Sutton and Barto 2018, chapters 3, 12 and 13).

Shapes: N samples, T actions; rewards are 0 after the last action of a sample.
"""

from typing import NamedTuple

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Bound of the logarithm of a probability ratio, so that it stays finite."""


def discounted_returns(rewards: Tensor, discount: float) -> Tensor:
    """Return the reward-to-go of each action (N, T): its reward plus the discounted rewards of the later ones."""
    sums, later = torch.empty_like(rewards), rewards.new_zeros(rewards.size(0))
    for position in reversed(range(rewards.size(1))):
        later = rewards[:, position] + discount * later
        sums[:, position] = later
    return sums


def generalized_advantages(rewards: Tensor, values: Tensor, discount: float, trace_decay: float) -> Tensor:
    """Return the generalized advantage estimate of each action (N, T) (Schulman et al. 2016, arXiv:1506.02438).

    `values` (N, T) are the critic's estimates of the reward-to-go; they must be 0 after the last action. With a
    `trace_decay` of 1 the advantage is the reward-to-go minus the value.
    """
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return discounted_returns(rewards + discount * next_values - values, discount * trace_decay)


def mean_of_others(returns: Tensor, num_samples: int) -> Tensor:
    """Return the mean of the returns (N, T) of the other samples of the same row, at the same position.

    Rows follow one another, with `num_samples` samples each (leave-one-out baseline, Kool et al. 2019).
    """
    by_row = returns.unflatten(0, (-1, num_samples))  # (B, K, T)
    return ((by_row.sum(1, keepdim=True) - by_row) / (num_samples - 1)).flatten(0, 1)


class ClippedGains(NamedTuple):
    """Gains of actions, and which of them have no gradient because their probability has changed too much."""

    gains: Tensor
    is_clipped: Tensor


def clipped_gains(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> ClippedGains:
    """Return the advantages, each times the ratio of the new to the old probability of its action (PPO).

    All tensors have the same shape. A ratio that is off by more than `clip` in the direction of the advantage is
    constant, so that it has no gradient (Schulman et al. 2017, arXiv:1707.06347). Where both probabilities are equal,
    the gradient is that of the advantage times the log-probability.
    """
    ratio = (log_probs - old_log_probs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    bounded = ratio.clamp(1 - clip, 1 + clip) * advantages
    return ClippedGains(torch.minimum(ratio * advantages, bounded), ratio * advantages > bounded)
