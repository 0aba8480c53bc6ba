"""What models give: hidden states with the projection that makes probabilities of them, a part at a time.

Shapes: B sentences, T target positions, F frames or positions, S source positions, V ids, D d_model, R tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.nn.copying import Pointer
from seqlab.nn.ctc_loss import ctc_nll
from seqlab.nn.masks import padding_mask

IMPOSSIBLE = -100.0
"""The log-probability in nats of a token that a model never says: a number, so that sums over a corpus are."""
NEVER = float("-inf")
"""That of what a search does not consider."""


class Projection(Protocol):
    """What maps hidden states to the vocabulary, without ever holding the logits of all tokens at once."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> logits (..., V) in fp32."""
        ...

    def cross_entropy(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """hidden (R, D), targets (R,), IGNORE for none -> the sums of the smoothed loss and of the detached nll."""
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
        if self.pointer is None:
            return self.projection.cross_entropy(self.hidden.flatten(0, 1), tgt_out.flatten(), label_smoothing)
        predicted = tgt_out != IGNORE
        rows, targets = self.hidden[predicted], tgt_out[predicted]  # (R, D), (R,)
        log_probs, means = self.projection.target_log_probs(rows, self.pointer.readable(targets))
        pointer = self.pointer.of(predicted)
        nll = -pointer.mixed(log_probs, targets).sum()
        return (1 - label_smoothing) * nll - label_smoothing * (means + pointer.generated()).sum(), nll.detach()

    def target_log_probs(self, tgt_out: Tensor) -> Tensor:
        """tgt_out (B, T) -> the log-probabilities in nats (R,) of its R predicted tokens, row after row.

        With a gradient for each of them, for losses that are no plain sum.
        """
        predicted = tgt_out != IGNORE
        rows, targets = self.hidden[predicted], tgt_out[predicted]  # (R, D), (R,)
        if self.pointer is None:
            return self.projection.target_log_probs(rows, targets)[0]
        log_probs, _ = self.projection.target_log_probs(rows, self.pointer.readable(targets))
        return self.pointer.of(predicted).mixed(log_probs, targets)

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


@dataclass(frozen=True)
class TensorState:
    """A decoding state of tensors that have a row for each hypothesis: the `State` of a model without a cache."""

    tensors: tuple[Tensor, ...]
    """(N, ...) each."""

    def select(self, rows: Tensor) -> "TensorState":
        """Keep, reorder and repeat rows: row i of the result is row `rows[i]` (N', int64) of this state."""
        return TensorState(tuple(each.index_select(0, rows) for each in self.tensors))

    def fork(self) -> "TensorState":
        """Copy, so that changes to one leave the other alone."""
        return TensorState(tuple(each.clone() for each in self.tensors))


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

    def nll(self, columns: Tensor, target_lengths: Tensor, is_sayable: Tensor, blank: int) -> Tensor:
        """Give the CTC loss of each target, in nats (B,); see `seqlab.nn.ctc_loss`."""
        return ctc_nll(*self, columns, target_lengths, is_sayable, blank)


class FrameOutput(NamedTuple):
    """What one pass over all frames gives."""

    hidden: Tensor
    """(B, F, D): hidden states, not yet projected."""
    projection: Projection
    lengths: Tensor
    """(B,) int64: frames of each sentence, at least 1."""
    shown: Tensor | None = None
    """(B, F) int64: the ids that were shown in their places, IGNORE for none; None where there are none at all."""
    attention: Tensor | None = None
    """(B, F, S): what each frame has attended to, where it was asked for."""

    @property
    def padding(self) -> Tensor:
        """(B, F) bool: what stands behind the last frame of each sentence."""
        return padding_mask(self.lengths, self.hidden.size(1))

    @property
    def is_shown(self) -> Tensor:
        """(B, F) bool."""
        return torch.zeros_like(self.padding) if self.shown is None else self.shown != IGNORE

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
        banned = self._index(never)
        values, ids = self._by_blocks(lambda rows: self.projection(rows).index_fill_(1, banned, NEVER).max(1))
        return ids, values

    @torch.no_grad()
    def candidates(self, count: int, never: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Give the likeliest ids of each frame, none of `never`: log-probabilities and ids, (B, F, count) each.

        Fewer where the vocabulary has fewer; with -inf where all others are among `never`.
        """
        banned = self._index(never)

        def best(rows: Tensor) -> tuple[Tensor, Tensor]:
            log_probs = self.projection.log_probs(rows).index_fill_(1, banned, NEVER)
            return log_probs.topk(min(count, log_probs.size(1)), dim=1)

        return self._by_blocks(best)

    @torch.no_grad()
    def likeliest(self, never: Sequence[int] = (), forced: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the likeliest id of each frame that is none of `never`, and its log-probability: (B, F) each.

        `forced` (B, F): ids that are taken instead, IGNORE where there is none.
        """
        banned = self._index(never)
        free = self.hidden.new_full((), IGNORE, dtype=torch.int64).expand(self.hidden.shape[:2])

        def best(rows: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
            log_probs = self.projection.log_probs(rows)
            of_given = log_probs.gather(1, given.clamp_min(0)[:, None])[:, 0]
            values, ids = log_probs.index_fill_(1, banned, NEVER).max(1)
            is_free = given == IGNORE
            return values.where(is_free, of_given), ids.where(is_free, given)

        values, ids = self._by_blocks(best, free if forced is None else forced)
        return ids, values

    def _index(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(sorted(ids), dtype=torch.int64, device=self.hidden.device)

    def _by_blocks(self, choose: Callable[..., Sequence[Tensor]], *more: Tensor) -> tuple[Tensor, Tensor]:
        """Let `choose` take values and ids of some frames' hidden states at a time, and of `more` (B, F)."""
        blocks = [each.flatten(0, 1).split(SCORED_ROWS) for each in (self.hidden, *more)]
        parts = [choose(*block) for block in zip(*blocks, strict=True)]
        shape = self.hidden.shape[:2]
        values, ids = (torch.cat(each).unflatten(0, shape) for each in zip(*parts, strict=True))
        return values, ids


class PositionOutput(NamedTuple):
    """What one pass gives that predicts all positions of a target, of which it was told how many there are."""

    positions: FrameOutput
    """One for each symbol."""
    length_nll: Tensor
    """(B,), differentiable: what the true length costs in nats, 0 where eos is to end targets."""
