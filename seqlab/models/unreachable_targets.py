"""Targets that a model can never predict because of their lengths."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class UnreachableTargets(NamedTuple):
    """Targets that a model can never predict."""

    mask: NDArray[np.bool_]
    """(pairs,): True for an unreachable target."""
    reason: str
    """Predicate of a sentence that starts with `3 of 100 training pairs`."""
    yield_no_loss: bool = False
    """Whether unreachable targets are left out of the loss."""


@runtime_checkable
class LimitedModel(Protocol):
    """A model config whose model cannot predict targets of some lengths."""

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets that the model can never predict; None if it can predict any target.

        Args:
            src: (pairs,), tokens of each source, eos included, or frames of each recording.
            tgt: (pairs,), tokens of each target, eos excluded.
            repeated: counts the tokens of each target that equal the token before: (pairs,).
        """
        ...
