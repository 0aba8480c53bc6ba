"""Step and state of autoregressive decoding, and the protocol of Markov models, which models and searches call.

Shapes: B sentences, N hypotheses (rows; several may belong to one sentence), W ids in the vocabulary, S source
positions.
"""

from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Step(NamedTuple):
    """Output of one decoding step of an autoregressive model."""

    scores: Tensor
    """(N, W): log-probabilities in nats (or any additive score) of the next id. Search does not normalize them, but may
    change them in place."""
    state: "State"
    """The state after this step. The step consumes the previous state."""
    attention: Tensor | None
    """(N, S): attention weights over the source positions; None unless `start` was called with `need_attention`."""


class State(Protocol):
    """Decoding state of N rows between two steps, for example a KV cache."""

    def select(self, rows: Tensor) -> "State":
        """Keep, reorder or repeat rows: row i of the result is row `rows[i]` (N', int64) of this state.

        This state must not be used afterwards: caches may be changed in place.
        """
        ...

    def fork(self) -> "State":
        """Return an independent copy: a step of one copy does not change the other."""
        ...


@runtime_checkable
class FixedContextModel(Protocol):
    """A Markov model: a `Stepper` whose context is a vector of `order` integers.

    Rows can therefore advance independently, and the probability of a single id can be looked up.
    """

    @property
    def impossible_ids(self) -> list[int]:
        """List the ids, other than pad and bos, that have a probability of 0 in every context."""
        ...

    def contexts_after(self, batch: Any) -> Tensor:
        """Return the contexts (B, order) int64 after the prompts of a batch."""
        ...

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Score ids (...) after contexts (..., order), with broadcasting, and return the contexts extended by the ids.

        Returns:
            The log-probabilities (...) in nats, in fp64, and the new contexts (..., order).
        """
        ...


def __getattr__(name: str) -> Any:
    """Raise ImportError for a name that moved; it names the new module."""
    if module := import_module("seqlab.models").MOVED.get(name):
        raise ImportError(f"`{__name__}.{name}` is now `{module}.{name}`.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
