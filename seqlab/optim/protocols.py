"""Protocols of optimizers: several gradients per update, other weights for evaluation."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TakesGradients(Protocol):
    """An optimizer that needs several gradients per update, or gradients at other weights."""

    def update(self, closure: Callable[[], Tensor]) -> None:
        """Move the weights, in the place of `step`.

        `closure` computes the gradient of the loss per unit at the present weights over the batches of the step, with
        the same dropout at each call; leaves it in the parameters, clipped; and returns its norm (), after clipping.
        Where it raises an error, the weights must be left as they were before the update.
        """
        ...


@runtime_checkable
class OffersWeights(Protocol):
    """An optimizer that evaluates with other weights than it takes the gradient at."""

    def evaluation_weight(self, parameter: Tensor) -> Tensor:
        """Return what a parameter is evaluated with."""
        ...
