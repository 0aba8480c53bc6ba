"""What search and the objectives may ask of a model: the protocols, nothing else.

Shapes: B sentences, N hypotheses (rows; several of them belong to one sentence), W ids in the vocabulary, S source
positions, T target positions. No model inherits from these classes: whatever has the methods is a `Stepper`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter, isfunction, signature
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.outputs import (
    IMPOSSIBLE,
    NEVER,
    SCORED_ROWS,
    DecoderOutput,
    FrameOutput,
    Frames,
    PositionOutput,
    Projection,
)
from seqlab.nn.input_mixing import InputMixing, Mixture
from seqlab.nn.masks import padding_mask

__all__ = [
    "IGNORE",
    "IMPOSSIBLE",
    "NEVER",
    "SCORED_ROWS",
    "CarryingScorer",
    "ContextModel",
    "CorpusReader",
    "CountedModel",
    "DecoderOutput",
    "EmbeddingModel",
    "FrameModel",
    "FrameOutput",
    "Frames",
    "Glance",
    "InputMixing",
    "Labeller",
    "MixingDecoder",
    "Mixture",
    "PositionModel",
    "PositionOutput",
    "Predictor",
    "Projection",
    "Scorer",
    "State",
    "StaticStepper",
    "Step",
    "Stepper",
    "TargetLengths",
    "missing_methods",
    "padding_mask",
]


Glance = Callable[[FrameOutput], Tensor]
"""What a first pass said -> ids (B, F) that a second one is shown, IGNORE for none."""


class Step(NamedTuple):
    """What one step of a left-to-right model gives for each row."""

    scores: Tensor
    """(N, W): log-probabilities in nats (or any additive score) of the next id. Search never normalises, but may
    write into it."""
    state: "State"
    """The state after the ids that were just read; the state given to `step` is consumed."""
    attention: Tensor | None
    """(N, S): weights over the source positions, only when `start` was asked for them."""


class State(Protocol):
    """All that a model remembers of N rows between two steps, e.g. a key/value cache."""

    def select(self, rows: Tensor) -> "State":
        """Keep, reorder and repeat rows: row i of the result is row `rows[i]` (N', int64) of this state.

        Consumes this state: caches may be changed in place, so it must not be used afterwards.
        """
        ...

    def fork(self) -> "State":
        """An independent copy: stepping one of the two leaves the other as it was."""
        ...


@runtime_checkable
class Stepper(Protocol):
    """Any left-to-right model: RNN, Transformer, n-gram, ensemble."""

    vocab_size: int
    eos_id: int

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, State]:
        """Read the source or the prompt: `last_ids` (B,) int64, the ids that the first step reads, and the state.

        There is one row per sentence, in the order of the batch. With `need_attention` every step also returns
        its attention.
        """
        ...

    def step(self, last_ids: Tensor, state: Any) -> Step:
        """Read `last_ids` (N,) int64 and score the id that comes next. Consumes `state`.

        The state is one that this same model returned; `Any`, so that each model can name its own type of it.
        """
        ...


@runtime_checkable
class StaticStepper(Protocol):
    """A `Stepper` that can remember in tensors of a fixed size, so that a CUDA graph can repeat its steps."""

    def static(self, state: Any, steps: int) -> State | None:
        """Give a state that has been stepped a fixed size, with room for `steps` more steps; None where it cannot be.

        `state` stays as it is. A step of what it returns depends on nothing but tensors that stay where they are,
        `last_ids` among them, changes them in place, never asks the device for a value, and returns the same state.
        `select` keeps the number of rows and moves each within its sentence.
        """
        ...


@runtime_checkable
class ContextModel(Protocol):
    """A left-to-right model that knows of a text no more than some numbers; it is a `Stepper`, too.

    So each of many rows can go on, or not, apart from the others, and single ids can be looked up.
    """

    @property
    def impossible_ids(self) -> list[int]:
        """List the ids but pad and bos whose probability is 0 in every context."""
        ...

    def contexts_behind(self, batch: Any) -> Tensor:
        """Read the prompts of a batch: the contexts (B, order) int64 behind them."""
        ...

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Read an id (...) behind each context (..., order), which are broadcast.

        Returns:
            Their log-probabilities (...) in fp64, and the contexts (..., order) behind them.
        """
        ...


@runtime_checkable
class CarryingScorer(Protocol):
    """A model of text whose state can be carried from one batch to the next: it looks back without a limit."""

    def score_on(self, batch: Any, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T) log-probabilities in nats of rows that go on where those before them ended, and what is carried on."""
        ...


@runtime_checkable
class Labeller(Protocol):
    """A model that gives each line of a batch a label, or each of its words."""

    labels_lines: bool

    def label(self, batch: Any) -> Tensor:
        """Log-probabilities in nats of all labels, of lines (B, L), or of words row after row (W, L)."""
        ...


@runtime_checkable
class FrameModel(Protocol):
    """A model that scores all frames at once, whose symbols CTC finds; it is a `Stepper` and a `Scorer`, too."""

    eos_id: int
    blank_id: int
    """What frames say that stand for no symbol."""

    def __call__(self, batch: Any, glance: Glance | None = None) -> FrameOutput:
        """Run one pass, or a second one whose decoder is shown what `glance` chooses by the first, without a gradient.

        That gives ids (B, F) int64, IGNORE where nothing is shown.
        """
        ...

    def frames(self, batch: Any) -> Frames:
        """Give the log-probabilities of all frames, without a gradient."""
        ...

    def score_said(self, frames: Frames, symbols: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score what sentences may say: log-probabilities in nats of each symbol and of the end, over all paths."""
        ...


class TargetLengths(NamedTuple):
    """How many symbols each of some targets may have."""

    lengths: Tensor
    """(B, K) int64, likeliest first, at least 1."""
    log_probs: Tensor
    """(B, K): in nats; 0 where eos is to end targets; -inf where there are fewer than K."""


@runtime_checkable
class PositionModel(Protocol):
    """A `Scorer` that predicts a target's length, then all of its positions at once, given any part of them."""

    vocab_size: int
    eos_id: int
    ends_at_eos: bool
    """Whether a target ends at the first eos among its positions; if not, it has as many symbols as positions."""
    iterations: int
    """Passes that a search takes unless it is told."""

    def __call__(self, batch: Any, shown: Tensor | None = None, glance: Glance | None = None) -> PositionOutput:
        """Run one pass over the positions of the batch's targets.

        The decoder is shown `shown` (B, P) int64, IGNORE for none. With `glance` there are two passes: the first is
        shown this, the second what `glance` makes of what the first said.
        """
        ...

    def position_targets(self, batch: Any) -> Tensor:
        """Give what each position is to say: (B, P) int64, IGNORE for nothing."""
        ...

    def encode(self, batch: Any) -> Any:
        """Run the encoder: what `select(rows)` keeps, reorders and repeats rows of."""
        ...

    def target_lengths(self, source: Any, count: int, shortest: Tensor, longest: Tensor) -> TargetLengths:
        """Predict up to `count` lengths for each source, between `shortest` and `longest` (B,) int64."""
        ...

    def predict(
        self, source: Any, lengths: Tensor, shown: Tensor | None = None, need_attention: bool = False
    ) -> FrameOutput:
        """Predict `lengths` (N,) positions of each source; `shown` as above."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A model that scores a given target in one teacher-forced pass: perplexity, rescoring, filtering."""

    def score(self, batch: Any) -> Tensor:
        """(B, T): log-probabilities in nats of the ids of `tgt_out`."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """A model that gives each example a score for each number, class or label."""

    def __call__(self, batch: Any) -> Tensor:
        """(B, K): numbers in standard deviations from their mean, or what a softmax or a sigmoid makes likely."""
        ...


@runtime_checkable
class MixingDecoder(Protocol):
    """A translator that can read predictions of its own in the place of some references."""

    def __call__(self, batch: Any, mixing: InputMixing | None = None) -> DecoderOutput:
        """Run a teacher-forced pass, which reads predictions where `mixing` has drawn them."""
        ...


@runtime_checkable
class EmbeddingModel(Protocol):
    """A model whose embeddings can start from word vectors."""

    embeddings: dict[str, str]
    """The parameter that the ids of each side are looked up in, by `src` and `tgt`."""


@runtime_checkable
class CorpusReader(Protocol):
    """A model that learns something from the encoded training corpus before the first step, besides its weights."""

    def read_corpus(self, values: Any, offsets: Any) -> Iterator[str]:
        """Read the source ids of all rows end to end and where each begins, as numpy arrays; yield log lines."""
        ...


@runtime_checkable
class CountedModel(Protocol):
    """A model without a fixed number of weights, which are counted: it names and takes over all of them itself."""

    def weights(self) -> dict[str, Tensor]:
        """Name everything that was counted."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave; raises ValueError where it is something else."""
        ...


def missing_methods(model: Any, protocol: type) -> list[str]:
    """Name what a model lacks of a protocol: methods, and attributes, as they are; of a method that is there arguments
    that can be left out, as `forward(mixing)`."""
    missing = []
    names = [*protocol.__annotations__, *vars(protocol)]
    for name in (name for name in names if not name.startswith("_") or name == "__call__"):
        own_name = "forward" if name == "__call__" else name
        own, wanted = getattr(model, own_name, None), vars(protocol).get(name)
        if own is None:
            missing.append(own_name)
        elif isfunction(wanted):
            parameters = signature(own).parameters
            if not any(each.kind == Parameter.VAR_KEYWORD for each in parameters.values()):
                optional = [
                    each.name for each in signature(wanted).parameters.values() if each.default is not each.empty
                ]
                missing += [f"{own_name}({each})" for each in optional if each not in parameters]
    return missing
