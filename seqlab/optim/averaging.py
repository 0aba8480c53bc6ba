"""Averages of weights: over the last checkpoints, exponentially over steps, and over all steps from one on."""

from collections.abc import Iterable, Mapping, Sequence

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


class RunningMean:
    """The mean of the weights after each update from a certain one on (Polyak & Juditsky 1992)."""

    def __init__(self, weights: Mapping[str, Tensor], first_step: int) -> None:
        """Begin with the weights that update number `first_step` starts from, which do not count."""
        self.first_step = first_step
        self.weights = {name: value.detach().clone() for name, value in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Take in the weights after update number `step`."""
        share = 1 / (step - self.first_step + 1)
        torch._foreach_lerp_(list(self.weights.values()), [weights[name] for name in self.weights], share)


def is_stalled(losses: Sequence[float], patience: int) -> bool:
    """Tell whether the last of some validation losses is above the best of those more than `patience` before it.

    The non-monotonic trigger of Merity et al. 2018 (arXiv:1708.02182, algorithm 1).
    """
    earlier = losses[: -1 - patience]
    return bool(earlier) and losses[-1] > min(earlier)
