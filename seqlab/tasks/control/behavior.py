"""Rules for actions: with and without exploration.

Shapes: B observations, O outputs of the model, A actions or values of an action, S the shape of an observation.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from seqlab.data.batch import ValueBatch
from seqlab.tasks.control.environment import ActionCodec


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

    numbers = 0

    def __init__(self, model: Any, codec: ActionCodec) -> None:
        self.model, self.codec = model, codec

    def __call__(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Choose actions: (B,) or (B, A)."""
        outputs = values_of(self.model, observations)
        return outputs.argmax(1) if self.codec.is_discrete else scale_to_bounds(outputs, self.codec)


class Softmax:
    """Action drawn from the softmax of the outputs of the model."""

    numbers = 1

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Draw actions by inverse CDF: (B,)."""
        cumulative = values_of(self.model, observations).double().softmax(1).cumsum(1)
        return (cumulative[:, :-1] <= numbers * cumulative[:, -1:]).sum(1)

    def distribution(self, observations: Tensor) -> Distribution:
        """Return the distribution of actions (B,)."""
        return Categorical(logits=values_of(self.model, observations), validate_args=False)


class Gaussian:
    """Action drawn from a normal distribution around the output of the model, scaled to the bounds."""

    def __init__(self, model: Any, codec: ActionCodec, deviation: Tensor) -> None:
        """`deviation` (A,): standard deviation, as a share of half the range of a value."""
        low, high = codec.bounds(deviation)
        self.mean, self.numbers, self.deviation = Greedy(model, codec), codec.size, deviation * (high - low) / 2

    def __call__(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Draw actions by inverse CDF: (B, A)."""
        noise = torch.special.ndtri(numbers.clamp(1e-12, 1 - 1e-12)).float()
        return self.mean(observations, numbers) + noise * self.deviation.to(noise.device)

    def distribution(self, observations: Tensor) -> Distribution:
        """Return the distribution of actions (B, A)."""
        mean = self.mean(observations, observations)
        return Independent(Normal(mean, self.deviation, validate_args=False), 1, validate_args=False)


class EpsilonGreedy:
    """A random action with probability epsilon, else the greedy one."""

    numbers = 2

    def __init__(self, model: Any, codec: ActionCodec, epsilon: float) -> None:
        self.greedy, self.epsilon, self.random = Greedy(model, codec), epsilon, Uniform(codec)

    def __call__(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Draw actions: (B,)."""
        return torch.where(
            numbers[:, 0] < self.epsilon,
            self.random(observations, numbers[:, 1:]),
            self.greedy(observations, numbers),
        )


class Uniform:
    """Uniformly random action."""

    def __init__(self, codec: ActionCodec) -> None:
        self.codec, self.numbers = codec, 1 if codec.is_discrete else codec.size

    def __call__(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Draw actions: (B,) or (B, A)."""
        if self.codec.is_discrete:
            return (numbers[:, 0] * self.codec.size).long()
        low, high = self.codec.bounds(numbers)
        return (low + numbers * (high - low)).float()
