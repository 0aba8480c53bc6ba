"""Protocols of the models that searches decode: the methods that a search calls.

Models need not inherit from these classes: any module with the methods of `Stepper` is a `Stepper`.

Shapes: B sentences, N hypotheses (rows; several may belong to one sentence), W ids in the vocabulary, S source
positions, T target positions, F frames, P positions of a non-autoregressive decoder.
"""

from collections.abc import Sequence
from inspect import Parameter, isfunction, signature
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from seqlab.models.interfaces import State, Step
from seqlab.models.outputs import FrameLogProbs, FrameOutput, Glance, PositionOutput, TargetLengths


@runtime_checkable
class Stepper(Protocol):
    """An autoregressive model that is decoded step by step: RNN, Transformer, n-gram model, ensemble."""

    vocab_size: int
    eos_id: int

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, State]:
        """Read the source or the prompt, and return the input of the first step and the initial state.

        Args:
            batch: B sentences; the state has one row for each, in their order.
            need_attention: whether each step also returns its attention.

        Returns:
            `last_ids` (B,) int64, which the first step reads, and the initial state.
        """
        ...

    def step(self, last_ids: Tensor, state: Any) -> Step:
        """Read `last_ids` (N,) int64 and score the next id. Consumes `state`.

        `state` comes from the same model. Its type is `Any`, so that each model can name its own type.
        """
        ...


@runtime_checkable
class StaticStepper(Protocol):
    """A `Stepper` with a state of a fixed size, whose steps can be captured in a CUDA graph."""

    def static_state(self, state: Any, steps: int) -> State | None:
        """Copy a state into tensors of a fixed size with room for `steps` more steps; None if that is impossible.

        `state` must have passed at least one step; it is left unchanged. A step from the returned state reads and
        writes only tensors at fixed addresses, `last_ids` included. It changes them in place, does not synchronize with
        the host, and returns the same state. `select` keeps the number of rows and moves rows only within a sentence.
        """
        ...


@runtime_checkable
class FrameModel(Protocol):
    """A CTC model, which scores all frames in one pass; also a `Stepper` and a `Scorer`."""

    eos_id: int
    blank_id: int
    """The id of CTC's blank."""

    def __call__(self, batch: Any, glance: Glance | None = None) -> FrameOutput:
        """Run one pass over all frames; with `glance` two.

        The first pass then has no gradient. `glance` maps its output to ids (B, F) int64, IGNORE for none, which the
        decoder observes in the second pass.
        """
        ...

    def frames(self, batch: Any) -> FrameLogProbs:
        """Compute the log-probabilities of all frames, without a gradient."""
        ...

    def score_sequences(self, frames: FrameLogProbs, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score one sequence of ids for each sentence, summed over all CTC paths.

        Returns:
            For each sequence the log-probabilities in nats of its tokens and, last, of its end.
        """
        ...


@runtime_checkable
class PositionModel(Protocol):
    """A non-autoregressive `Scorer`: it predicts the length of a target, then all of its tokens in parallel.

    The decoder may observe some of the target tokens (`shown`) and predicts the others from them.
    """

    vocab_size: int
    eos_id: int
    ends_at_eos: bool
    """Whether a target ends at the first eos among its positions; otherwise it has one token per position."""
    iterations: int
    """Default number of decoding passes."""

    def __call__(self, batch: Any, shown: Tensor | None = None, glance: Glance | None = None) -> PositionOutput:
        """Run one pass over the positions of the batch's targets; with `glance` two.

        Args:
            batch: sources and targets.
            shown: (B, P) int64, the target tokens that the decoder observes, IGNORE for none.
            glance: chooses `shown` of a second pass from the output of the first, which has no gradient.
        """
        ...

    def position_targets(self, batch: Any) -> Tensor:
        """Return the reference token of each position: (B, P) int64, IGNORE for none."""
        ...

    def encode(self, batch: Any) -> Any:
        """Run the encoder. The result has a method `select(rows)`, which keeps, reorders or repeats rows."""
        ...

    def target_lengths(self, source: Any, count: int, shortest: Tensor, longest: Tensor) -> TargetLengths:
        """Predict up to `count` target lengths for each source, from `shortest` to `longest` (B,) int64."""
        ...

    def predict(
        self, source: Any, lengths: Tensor, shown: Tensor | None = None, need_attention: bool = False
    ) -> FrameOutput:
        """Predict targets of `lengths` (N,) positions; `shown` as in `__call__`."""
        ...


def missing_methods(model: Any, protocol: type) -> list[str]:
    """List the members of a protocol that a model lacks.

    A missing method or attribute is listed by its name. A method without one of the protocol's optional arguments is
    listed with that argument, for example `forward(mixing)`.
    """
    missing = []
    names = [*protocol.__annotations__, *vars(protocol)]
    for name in (name for name in names if not name.startswith("_") or name == "__call__"):
        model_name = "forward" if name == "__call__" else name
        member, required = getattr(model, model_name, None), vars(protocol).get(name)
        if member is None:
            missing.append(model_name)
        elif isfunction(required):
            parameters = signature(member).parameters
            if not any(parameter.kind == Parameter.VAR_KEYWORD for parameter in parameters.values()):
                optional = [
                    parameter.name
                    for parameter in signature(required).parameters.values()
                    if parameter.default is not parameter.empty
                ]
                missing += [f"{model_name}({argument})" for argument in optional if argument not in parameters]
    return missing
