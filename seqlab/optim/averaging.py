"""Averages of weights: over the last checkpoints, and exponentially over steps."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def mean_of_weights(members: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average several sets of weights, read one after the other; floating-point sums are taken in fp64."""
    sums: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    count = 0
    for weights in members:
        count += 1
        for name, value in weights.items():
            if name in sums:
                sums[name] += value
            else:
                sums[name], dtypes[name] = value.to(torch.float64, copy=True), value.dtype
    if count == 0:
        raise ValueError("An average needs at least one set of weights.")
    return {name: (value / count).to(dtypes[name]) for name, value in sums.items()}


class MovingAverage:
    """An exponential moving average of weights.

    The decay starts low, min(decay, (1 + step) / (10 + step)), so that the random start is soon forgotten.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Move towards the weights after update number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.weights.values()), [weights[name] for name in self.weights], 1 - decay)
