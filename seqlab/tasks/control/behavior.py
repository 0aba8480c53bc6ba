"""Rules for actions: with and without exploration.

Shapes: B observations, A actions or values of an action.
"""

from typing import Any

import torch
from torch import Tensor

from seqlab.tasks.control.environment import ActionCodec
from seqlab.tasks.control.episodes import values_of


def scale_to_bounds(outputs: Tensor, codec: ActionCodec) -> Tensor:
    """Map outputs (..., A) to the bounds of the values of actions, by tanh."""
    low, high = outputs.new_tensor(codec.low), outputs.new_tensor(codec.high)
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


class Gaussian:
    """Action drawn from a normal distribution around the output of the model, scaled to the bounds."""

    def __init__(self, model: Any, codec: ActionCodec, deviation: Tensor) -> None:
        """`deviation` (A,): standard deviation, as a share of half the range of a value."""
        self.mean, self.numbers = Greedy(model, codec), codec.size
        self.deviation = deviation * (deviation.new_tensor(codec.high) - deviation.new_tensor(codec.low)) / 2

    def __call__(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Draw actions by inverse CDF: (B, A)."""
        noise = torch.special.ndtri(numbers.clamp(1e-12, 1 - 1e-12)).float()
        return self.mean(observations, numbers) + noise * self.deviation


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
        low, high = numbers.new_tensor(self.codec.low), numbers.new_tensor(self.codec.high)
        return (low + numbers * (high - low)).float()
