"""Weight averaging: mean of checkpoints, exponential moving average, and running mean from a given step."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor


def mean_of_weights(members: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average sets of weights, which are read one at a time and summed in fp64.

    Raises:
        ValueError: there are no weights.
    """
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
    """Exponential moving average of weights.

    The decay is min(decay, (1 + step) / (10 + step)): low in the first steps, so the initial weights soon lose
    influence.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Include the weights after update number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.weights.values()), [weights[name] for name in self.weights], 1 - decay)


class RunningMean:
    """Mean of the weights after each update from a given step (Polyak & Juditsky 1992)."""

    def __init__(self, weights: Mapping[str, Tensor], first_step: int) -> None:
        """Start with the weights before update number `first_step`, which are not part of the mean."""
        self.first_step = first_step
        self.weights = {name: value.detach().clone() for name, value in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Include the weights after update number `step`."""
        share = 1 / (step - self.first_step + 1)
        torch._foreach_lerp_(list(self.weights.values()), [weights[name] for name in self.weights], share)


def is_stalled(losses: Sequence[float], patience: int) -> bool:
    """Whether the last validation loss is above the lowest loss of more than `patience` validations before.

    This is the non-monotonic trigger of NT-ASGD (Merity et al. 2018, arXiv:1708.02182, algorithm 1). Losses that are
    infinite or NaN are left out: they cannot be compared.
    """
    comparable = list(filter(math.isfinite, losses))
    earlier = comparable[: -1 - patience]
    return bool(earlier) and math.isfinite(losses[-1]) and losses[-1] > min(earlier)
