"""What search and the objectives may ask of a model: the protocols, nothing else.

Shapes: B sentences, N hypotheses (rows; several of them belong to one sentence), W ids in the vocabulary, S source
positions, T target positions. No model inherits from these classes: whatever has the methods is a `Stepper`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.nn.copying import Pointer
from seqlab.nn.input_mixing import InputMixing, Mixture
from seqlab.nn.masks import padding_mask

__all__ = [
    "IGNORE",
    "IMPOSSIBLE",
    "NEVER",
    "SCORED_ROWS",
    "CarryingScorer",
    "ContextModel",
    "DecoderOutput",
    "FrameModel",
    "FrameOutput",
    "Frames",
    "Glance",
    "InputMixing",
    "Labeller",
    "Mixture",
    "PositionModel",
    "PositionOutput",
    "Projection",
    "Scorer",
    "State",
    "Step",
    "Stepper",
    "TargetLengths",
]


class Projection(Protocol):
    """What maps hidden states to the vocabulary, without ever holding the logits of all tokens at once."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> logits (..., V) in fp32."""
        ...

    def cross_entropy(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """hidden (R, D), targets (R,) -> the sums of the smoothed loss and of the detached nll, in nats."""
        ...

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (R, D), targets (R,) -> log-probabilities of the targets and means over all ids (R,)."""
        ...

    def consistent_cross_entropy(
        self, hidden: Tensor, targets: Tensor, label_smoothing: float, consistency: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """hidden (2, R, D) of two passes -> the sums of R-Drop's loss, the nll and the divergence, in nats."""
        ...

    def selected_log_probs(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) -> their log-probabilities (B, F, k), and means over all ids (B, F)."""
        ...

    def selected_logits(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) -> their logits (B, F, k), and the largest of all ids (B, F); no gradient."""
        ...

    def log_probs(self, hidden: Tensor) -> Tensor:
        """hidden (N, D) -> log-probabilities (N, V) in nats, in fp32; without a gradient."""
        ...


SCORED_ROWS = 1024
"""Tokens whose log-probabilities over the vocabulary are held at once."""


class DecoderOutput(NamedTuple):
    """What one teacher-forced pass gives."""

    hidden: Tensor
    """(B, T, D): hidden states, not yet projected."""
    projection: Projection
    carry: dict[str, Tensor] | None = None
    """What the model remembers behind the last position, detached and rows first, for a batch that goes on there."""
    undropped: Tensor | None = None
    """(B, T, D): the hidden states before their dropout, from models that have them penalised."""
    attention: Tensor | None = None
    """(B, T, S): weights over the source positions, where they were asked for."""
    src_places: Tensor | None = None
    """(B, S): where each of these stands, from 0 to 1; -1 for what stands nowhere. It is there with the attention."""
    pointer: Pointer | None = None
    """What is copied from the source, by models that copy: then probabilities are a mixture of both."""

    def logits(self) -> Tensor:
        """(B, T, V) in fp32: all of them at once, for small batches and for losses that need them."""
        return self.projection(self.hidden)

    def cross_entropy(self, tgt_out: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """tgt_out (B, T) -> the sums of the smoothed loss and of the detached nll, in nats.

        A mixture is smoothed as if each word had what the vocabulary gives it, which is all that most words have: so
        the gate is kept from trusting copying alone.
        """
        predicted = tgt_out != IGNORE
        rows, targets = self.hidden[predicted], tgt_out[predicted]  # (R, D), (R,)
        if self.pointer is None:
            return self.projection.cross_entropy(rows, targets, label_smoothing)
        log_probs, means = self.projection.target_log_probs(rows, self.pointer.readable(targets))
        pointer = self.pointer.of(predicted)
        nll = -pointer.mixed(log_probs, targets).sum()
        return (1 - label_smoothing) * nll - label_smoothing * (means + pointer.generated()).sum(), nll.detach()

    @torch.no_grad()
    def scores(self, tgt_out: Tensor) -> Tensor:
        """tgt_out (B, T) -> its log-probabilities in nats (B, T), 0 where nothing is predicted; without a gradient."""
        predicted = tgt_out != IGNORE
        rows, targets = self.hidden[predicted], tgt_out[predicted]  # (R, D), (R,)
        scores = rows.new_zeros(tgt_out.shape, dtype=torch.float32)
        if not len(rows):
            return scores
        known = targets if self.pointer is None else self.pointer.readable(targets)
        blocks = zip(rows.split(SCORED_ROWS), known.split(SCORED_ROWS), strict=True)
        picked = torch.cat([self.projection.log_probs(r).gather(1, t[:, None]).squeeze(1) for r, t in blocks])
        if self.pointer is not None:
            picked = self.pointer.of(predicted).mixed(picked, targets)
        return scores.masked_scatter(predicted, picked)


IMPOSSIBLE = -100.0
"""The log-probability in nats of a token that a model never says: a number, so that sums over a corpus are."""
NEVER = float("-inf")
"""That of what a search does not consider."""


class Frames(NamedTuple):
    """What a model says of each of some frames, or positions, of which the symbols of a target are fewer."""

    log_probs: Tensor
    """(B, F, V): of each id in each frame, in nats; what stands behind the last frame of a sentence is not read."""
    lengths: Tensor
    """(B,) int64: frames of each sentence, at least 1."""

    @property
    def padding(self) -> Tensor:
        """(B, F) bool: what stands behind the last frame of each sentence."""
        return padding_mask(self.lengths, self.log_probs.size(1))


class FrameOutput(NamedTuple):
    """What one pass over all frames gives."""

    hidden: Tensor
    """(B, F, D): hidden states, not yet projected."""
    projection: Projection
    lengths: Tensor
    """(B,) int64: frames of each sentence, at least 1."""

    @property
    def padding(self) -> Tensor:
        """(B, F) bool: what stands behind the last frame of each sentence."""
        return padding_mask(self.lengths, self.hidden.size(1))

    def selected(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, k) -> their log-probabilities (B, F, k), and means over all ids (B, F)."""
        return self.projection.selected_log_probs(self.hidden, ids)

    def selected_logits(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, k) -> their logits (B, F, k), and the largest of all ids (B, F); no gradient."""
        return self.projection.selected_logits(self.hidden, ids)

    @torch.no_grad()
    def frames(self) -> Frames:
        """Give the log-probabilities of all frames, without a gradient."""
        log_probs = self.projection.log_probs(self.hidden.flatten(0, 1))
        return Frames(log_probs.view(*self.hidden.shape[:2], -1), self.lengths)

    @torch.no_grad()
    def likeliest_ids(self, never: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Give the likeliest id of each frame that is none of `never`, and its logit: (B, F) each.

        Without the sums over the vocabulary that its probability needs.
        """
        banned = torch.tensor(sorted(never), dtype=torch.int64, device=self.hidden.device)
        blocks = self.hidden.flatten(0, 1).split(SCORED_ROWS)
        best = [self.projection(rows).index_fill_(1, banned, float("-inf")).max(1) for rows in blocks]
        values, ids = (torch.cat(parts).view(self.hidden.shape[:2]) for parts in zip(*best, strict=True))
        return ids, values

    @torch.no_grad()
    def candidates(self, count: int, never: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Give the likeliest ids of each frame, none of `never`: log-probabilities and ids, (B, F, count) each.

        Fewer where the vocabulary has fewer; with -inf where all others are among `never`.
        """
        banned = torch.tensor(sorted(never), dtype=torch.int64, device=self.hidden.device)
        found = []
        for rows in self.hidden.flatten(0, 1).split(SCORED_ROWS):
            log_probs = self.projection.log_probs(rows).index_fill(1, banned, NEVER)
            found.append(log_probs.topk(min(count, log_probs.size(1)), dim=1))
        values, ids = (torch.cat(parts) for parts in zip(*found, strict=True))
        return values.view(*self.hidden.shape[:2], -1), ids.view(*self.hidden.shape[:2], -1)

    @torch.no_grad()
    def likeliest(self, never: Sequence[int] = (), forced: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the likeliest id of each frame that is none of `never`, and its log-probability: (B, F) each.

        `forced` (B, F): ids that are taken instead, IGNORE where there is none.
        """
        shape = self.hidden.shape[:2]
        free = self.hidden.new_full((), IGNORE, dtype=torch.int64).expand(shape) if forced is None else forced
        banned = torch.tensor(sorted(never), dtype=torch.int64, device=free.device)
        ids, values = [], []
        for rows, given in zip(
            self.hidden.flatten(0, 1).split(SCORED_ROWS), free.flatten().split(SCORED_ROWS), strict=True
        ):
            log_probs = self.projection.log_probs(rows)
            of_given = log_probs.gather(1, given.clamp_min(0)[:, None])[:, 0]
            best, chosen = log_probs.index_fill_(1, banned, float("-inf")).max(1)
            ids.append(torch.where(given == IGNORE, chosen, given))
            values.append(torch.where(given == IGNORE, best, of_given))
        return torch.cat(ids).view(shape), torch.cat(values).view(shape)


class PositionOutput(NamedTuple):
    """What one pass gives that predicts all positions of a target, of which it was told how many there are."""

    positions: FrameOutput
    """One for each symbol."""
    length_nll: Tensor
    """(B,), differentiable: what the true length costs in nats, 0 where eos is to end targets."""


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
class ContextModel(Protocol):
    """A left-to-right model that knows of a text no more than some numbers; it is a `Stepper`, too.

    So each of many rows can go on, or not, apart from the others, and single ids can be looked up.
    """

    def contexts_behind(self, batch: Any) -> Tensor:
        """Read the prompts of a batch: the contexts (B, order) int64 behind them."""
        ...

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Read an id (...) behind each context (..., order), which are broadcast.

        Returns:
            Their log-probabilities (...) in fp64, and the contexts (..., order) behind them.
        """
        ...


class CarryingScorer(Protocol):
    """A model of text whose state can be carried from one batch to the next: it looks back without a limit."""

    def score_on(self, batch: Any, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T) log-probabilities in nats of rows that go on where those before them ended, and what is carried on."""
        ...


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

        The decoder is shown `shown` (B, P) int64, IGNORE for none, or what `glance` chooses by a pass before it.
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

    def predict(self, source: Any, lengths: Tensor, shown: Tensor | None = None) -> FrameOutput:
        """Predict `lengths` (N,) positions of each source; `shown` as above."""
        ...


class Scorer(Protocol):
    """A model that scores a given target in one teacher-forced pass: perplexity, rescoring, filtering."""

    def score(self, batch: Any) -> Tensor:
        """(B, T): log-probabilities in nats of the ids of `tgt_out`."""
        ...
