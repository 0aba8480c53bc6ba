"""What an optimizer may have besides `step`."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TwoPasses(Protocol):
    """An optimizer that wants the gradient at another point, which a second pass over the same batches takes."""

    def ascend(self, norm: Tensor) -> None:
        """Move the weights to that point, given the norm of the gradient."""
        ...

    def descend(self) -> None:
        """Move them back to where they were."""
        ...


@runtime_checkable
class OffersWeights(Protocol):
    """An optimizer that evaluates with other weights than it takes the gradient at."""

    def evaluation_weight(self, parameter: Tensor) -> Tensor:
        """Return what a parameter is evaluated with."""
        ...
