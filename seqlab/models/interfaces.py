"""Protocols of models: the methods that searches and objectives call.

Models need not inherit from these classes: any module with the methods of `Stepper` is a `Stepper`.

Shapes: B sentences, N hypotheses (rows; several may belong to one sentence), W ids in the vocabulary, S source
positions, T target positions, F frames, P positions of a non-autoregressive decoder, L labels, O outputs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter, isfunction, signature
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.outputs import (
    IMPOSSIBLE_LOG_PROB,
    NEG_INF,
    SCORING_BLOCK_ROWS,
    DecoderOutput,
    FrameLogProbs,
    FrameOutput,
    PositionOutput,
    Projection,
)
from seqlab.nn.input_mixing import InputMixing, Mixture
from seqlab.nn.masks import padding_mask

__all__ = [
    "IGNORE",
    "IMPOSSIBLE_LOG_PROB",
    "NEG_INF",
    "SCORING_BLOCK_ROWS",
    "CarryingScorer",
    "CorpusReader",
    "CountBasedModel",
    "DecoderOutput",
    "EmbeddingModel",
    "FixedContextModel",
    "FrameLogProbs",
    "FrameModel",
    "FrameOutput",
    "Glance",
    "InputMixing",
    "Labeller",
    "MixingDecoder",
    "Mixture",
    "PositionModel",
    "PositionOutput",
    "Predictor",
    "ProjectingModel",
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
"""Glancing (Qian et al. 2021): maps the output of a first pass to the ids (B, F), IGNORE for none, that the decoder
observes in a second pass."""


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


@runtime_checkable
class CarryingScorer(Protocol):
    """A language model whose hidden state can be carried from one batch to the next (as in truncated BPTT)."""

    def score_with_carry(self, batch: Any, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Score rows that continue those of the previous batch. `carry`: its state; None for rows that start a text.

        Returns:
            The log-probabilities (B, T) in nats of `tgt_out`, and the state to carry to the next batch.
        """
        ...


@runtime_checkable
class Labeller(Protocol):
    """A model that labels each line of a batch, or each word."""

    labels_lines: bool
    """Whether lines are labelled, rather than words."""

    def label(self, batch: Any) -> Tensor:
        """Return the log-probabilities in nats of all labels: of lines (B, L), or of words, row after row (W, L)."""
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


class TargetLengths(NamedTuple):
    """Candidate lengths of targets, in tokens."""

    lengths: Tensor
    """(B, K) int64, most probable first, at least 1."""
    log_probs: Tensor
    """(B, K), in nats: 0 for models whose targets end at eos; -inf where there are fewer than K candidates."""


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


@runtime_checkable
class Scorer(Protocol):
    """A model that scores given targets in one teacher-forced pass, for perplexity, rescoring and filtering."""

    def score(self, batch: Any) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """A model of numbers, classes or labels: O outputs for each example."""

    def __call__(self, batch: Any) -> Tensor:
        """Return (B, O): standardized numbers for regression, or logits of classes (softmax) or labels (sigmoid)."""
        ...


@runtime_checkable
class MixingDecoder(Protocol):
    """A translator that can be trained with scheduled sampling (Bengio et al. 2015)."""

    def __call__(self, batch: Any, mixing: InputMixing | None = None) -> DecoderOutput:
        """Run a teacher-forced pass; `mixing` replaces some input tokens by the model's own predictions."""
        ...


@runtime_checkable
class EmbeddingModel(Protocol):
    """A model whose embeddings can be initialized from pretrained word vectors."""

    embeddings: dict[str, str]
    """Names of the embedding parameters of the source (`src`) and target (`tgt`) side."""


@runtime_checkable
class ProjectingModel(Protocol):
    """A model whose output projection maps hidden states to logits."""

    projection: Any
    """The projection, with a `weight` (V, D)."""


@runtime_checkable
class CorpusReader(Protocol):
    """A model that collects statistics of the encoded training corpus before the first step."""

    def read_corpus(self, values: Any, offsets: Any) -> Iterator[str]:
        """Read the training corpus and yield log lines.

        Args:
            values: the source ids of all rows, concatenated, as a numpy array.
            offsets: the start of each row in `values`, as a numpy array.
        """
        ...


@runtime_checkable
class CountBasedModel(Protocol):
    """A model fitted by counting: the sizes of its tensors depend on the corpus, and it loads them itself."""

    def weights(self) -> dict[str, Tensor]:
        """Return all tensors to save, by name."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load the tensors that `weights` returned; raises ValueError where they do not fit."""
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
            if not any(each.kind == Parameter.VAR_KEYWORD for each in parameters.values()):
                optional = [
                    each.name for each in signature(required).parameters.values() if each.default is not each.empty
                ]
                missing += [f"{model_name}({each})" for each in optional if each not in parameters]
    return missing
