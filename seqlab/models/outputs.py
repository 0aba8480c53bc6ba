"""Outputs of models: hidden states, and the projection to the vocabulary, which is applied in blocks.

Shapes: B sentences, T target positions, F frames or positions, S source positions, V vocabulary, D d_model, R predicted
tokens of a batch, N rows, K candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.nn.copying import PointerOutput
from seqlab.nn.ctc_loss import ctc_nll
from seqlab.nn.masks import padding_mask

IMPOSSIBLE_LOG_PROB = -100.0
"""Log-probability in nats reported for an impossible token: finite, so that sums over a corpus are finite."""
NEG_INF = float("-inf")
"""Log-probability of candidates that a search excludes."""


class Projection(Protocol):
    """Output projection: maps hidden states to the vocabulary in blocks, without storing the logits of all tokens."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> logits (..., V) in fp32."""
        ...

    def cross_entropy(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum the cross entropy over tokens: hidden (R, D), targets (R,), IGNORE for none.

        Returns:
            The label-smoothed loss and the detached nll, both sums in nats.
        """
        ...

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (R, D), targets (R,) -> log-probabilities of the targets (R,), means over the vocabulary (R,)."""
        ...

    def r_drop_loss(
        self, hidden: Tensor, targets: Tensor, label_smoothing: float, consistency: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute R-Drop's loss (Liang et al. 2021): hidden (2, R, D) of two passes, targets (R,).

        Returns:
            The loss, the nll and the KL divergence, all sums in nats.
        """
        ...

    def selected_log_probs(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) -> log-probabilities of the ids (B, F, k), means over the vocabulary (B, F)."""
        ...

    def selected_logits(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) -> logits of the ids (B, F, k), largest logits (B, F); without a gradient."""
        ...

    def log_probs(self, hidden: Tensor) -> Tensor:
        """hidden (N, D) -> log-probabilities (N, V) in nats, in fp32; without a gradient."""
        ...


SCORING_BLOCK_ROWS = 1024
"""Tokens per block when log-probabilities over the vocabulary are computed."""


class DecoderOutput(NamedTuple):
    """Output of one teacher-forced pass."""

    hidden: Tensor
    """(B, T, D): hidden states, the input of the projection."""
    projection: Projection
    carry: dict[str, Tensor] | None = None
    """Detached state after the last position, rows first, for a batch that continues the rows (truncated BPTT)."""
    undropped: Tensor | None = None
    """(B, T, D): the hidden states before dropout, from models with activation penalties (AWD-LSTM)."""
    attention: Tensor | None = None
    """(B, T, S): attention weights over the source positions, where they were requested."""
    relative_src_positions: Tensor | None = None
    """(B, S): relative position of each source token, from 0 to 1; -1 for tags and padding. Set with `attention`."""
    pointer: PointerOutput | None = None
    """Copy distribution, for models that copy: probabilities are then a mixture of copying and the vocabulary."""

    def logits(self) -> Tensor:
        """Return all logits (B, T, V) at once, in fp32: for small batches, and for losses that need them."""
        return self.projection(self.hidden)

    def cross_entropy(self, tgt_out: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """Sum the cross entropy of tgt_out (B, T).

        A mixture with copying is smoothed as if each token were predicted from the vocabulary, as most tokens are. This
        keeps the gate from always choosing to copy.

        Returns:
            The label-smoothed loss and the detached nll, both sums in nats.
        """
        if self.pointer is None:
            return self.projection.cross_entropy(self.hidden.flatten(0, 1), tgt_out.flatten(), label_smoothing)
        predicted = tgt_out != IGNORE
        rows, targets = self.hidden[predicted], tgt_out[predicted]  # (R, D), (R,)
        log_probs, means = self.projection.target_log_probs(rows, self.pointer.vocabulary_targets(targets))
        pointer = self.pointer.select(predicted)
        nll = -pointer.mix(log_probs, targets).sum()
        uniform = (means + pointer.log_vocabulary_scale()).sum()
        return (1 - label_smoothing) * nll - label_smoothing * uniform, nll.detach()

    def target_log_probs(self, tgt_out: Tensor) -> Tensor:
        """tgt_out (B, T) -> the log-probabilities in nats (R,) of its R predicted tokens, row after row.

        They are differentiable one by one, for losses that weight tokens differently.
        """
        predicted = tgt_out != IGNORE
        rows, targets = self.hidden[predicted], tgt_out[predicted]  # (R, D), (R,)
        if self.pointer is None:
            return self.projection.target_log_probs(rows, targets)[0]
        log_probs, _ = self.projection.target_log_probs(rows, self.pointer.vocabulary_targets(targets))
        return self.pointer.select(predicted).mix(log_probs, targets)

    @torch.no_grad()
    def scores(self, tgt_out: Tensor) -> Tensor:
        """tgt_out (B, T) -> its log-probabilities in nats (B, T), 0 where nothing is predicted; without a gradient."""
        predicted = tgt_out != IGNORE
        rows, targets = self.hidden[predicted], tgt_out[predicted]  # (R, D), (R,)
        scores = rows.new_zeros(tgt_out.shape, dtype=torch.float32)
        if not len(rows):
            return scores
        known = targets if self.pointer is None else self.pointer.vocabulary_targets(targets)
        blocks = zip(rows.split(SCORING_BLOCK_ROWS), known.split(SCORING_BLOCK_ROWS), strict=True)
        picked = torch.cat([self.projection.log_probs(r).gather(1, t[:, None]).squeeze(1) for r, t in blocks])
        if self.pointer is not None:
            picked = self.pointer.select(predicted).mix(picked, targets)
        return scores.masked_scatter(predicted, picked)


@dataclass(frozen=True)
class TensorState:
    """A `State` of tensors with one row per hypothesis, for models without a cache."""

    tensors: tuple[Tensor, ...]
    """(N, ...) each."""

    def select(self, rows: Tensor) -> "TensorState":
        """Keep, reorder or repeat rows: row i of the result is row `rows[i]` (N', int64) of this state."""
        return TensorState(tuple(tensor.index_select(0, rows) for tensor in self.tensors))

    def fork(self) -> "TensorState":
        """Return an independent copy."""
        return TensorState(tuple(tensor.clone() for tensor in self.tensors))


class FrameLogProbs(NamedTuple):
    """Frame-wise log-probabilities of a CTC model."""

    log_probs: Tensor
    """(B, F, V), in nats: of each id in each frame; values in padding are ignored."""
    lengths: Tensor
    """(B,) int64: frames of each sentence, at least 1."""

    @property
    def padding(self) -> Tensor:
        """(B, F) bool: True after the last frame of each sentence."""
        return padding_mask(self.lengths, self.log_probs.size(1))

    def nll(self, columns: Tensor, target_lengths: Tensor, is_feasible: Tensor, blank: int) -> Tensor:
        """Compute the CTC loss of each target, in nats (B,); see `seqlab.nn.ctc_loss`."""
        return ctc_nll(*self, columns, target_lengths, is_feasible, blank)


class FrameOutput(NamedTuple):
    """Output of one pass over all frames or positions."""

    hidden: Tensor
    """(B, F, D): hidden states, the input of the projection."""
    projection: Projection
    lengths: Tensor
    """(B,) int64: frames of each sentence, at least 1."""
    shown: Tensor | None = None
    """(B, F) int64: target tokens that the decoder observed, IGNORE for none; None if it observed no token at all."""
    attention: Tensor | None = None
    """(B, F, S): attention weights over the source positions, where they were requested."""

    @property
    def padding(self) -> Tensor:
        """(B, F) bool: True after the last frame of each sentence."""
        return padding_mask(self.lengths, self.hidden.size(1))

    @property
    def is_shown(self) -> Tensor:
        """(B, F) bool: True where the decoder observed a target token."""
        return torch.zeros_like(self.padding) if self.shown is None else self.shown != IGNORE

    def selected_log_probs(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, k) -> log-probabilities of the ids (B, F, k), and means over the vocabulary (B, F)."""
        return self.projection.selected_log_probs(self.hidden, ids)

    def selected_logits(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, k) -> logits of the ids (B, F, k), and largest logits (B, F); without a gradient."""
        return self.projection.selected_logits(self.hidden, ids)

    @torch.no_grad()
    def frames(self) -> FrameLogProbs:
        """Compute the log-probabilities of all frames, without a gradient."""
        log_probs = self.projection.log_probs(self.hidden.flatten(0, 1))
        return FrameLogProbs(log_probs.view(*self.hidden.shape[:2], -1), self.lengths)

    @torch.no_grad()
    def most_probable_ids(self, banned_ids: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Return the most probable id of each frame, without `banned_ids`, and its logit: (B, F) each.

        Faster than `most_probable`, because logits need no sum over the vocabulary.
        """
        banned = self._index(banned_ids)
        values, ids = self._apply_in_blocks(lambda rows: self.projection(rows).index_fill_(1, banned, NEG_INF).max(1))
        return ids, values

    @torch.no_grad()
    def candidates(self, count: int, banned_ids: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Return the `count` most probable ids of each frame: their log-probabilities and the ids, (B, F, count) each.

        `banned_ids` have a log-probability of -inf. If the vocabulary has fewer ids, all are returned.
        """
        banned = self._index(banned_ids)

        def best(rows: Tensor) -> tuple[Tensor, Tensor]:
            log_probs = self.projection.log_probs(rows).index_fill_(1, banned, NEG_INF)
            return log_probs.topk(min(count, log_probs.size(1)), dim=1)

        return self._apply_in_blocks(best)

    @torch.no_grad()
    def most_probable(self, banned_ids: Sequence[int] = (), forced: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the most probable id of each frame, without `banned_ids`, and its log-probability: (B, F) each.

        `forced` (B, F): ids to take instead, IGNORE for none.
        """
        banned = self._index(banned_ids)
        if forced is None:
            forced = self.hidden.new_full((), IGNORE, dtype=torch.int64).expand(self.hidden.shape[:2])

        def best(rows: Tensor, forced_ids: Tensor) -> tuple[Tensor, Tensor]:
            log_probs = self.projection.log_probs(rows)
            forced_log_probs = log_probs.gather(1, forced_ids.clamp_min(0)[:, None])[:, 0]
            values, ids = log_probs.index_fill_(1, banned, NEG_INF).max(1)
            is_free = forced_ids == IGNORE
            return values.where(is_free, forced_log_probs), ids.where(is_free, forced_ids)

        values, ids = self._apply_in_blocks(best, forced)
        return ids, values

    def _index(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(sorted(ids), dtype=torch.int64, device=self.hidden.device)

    def _apply_in_blocks(self, choose: Callable[..., Sequence[Tensor]], *args: Tensor) -> tuple[Tensor, Tensor]:
        """Apply `choose` to blocks of the hidden states and of `args` (B, F), and concatenate its values and ids."""
        blocks = [tensor.flatten(0, 1).split(SCORING_BLOCK_ROWS) for tensor in (self.hidden, *args)]
        parts = [choose(*block) for block in zip(*blocks, strict=True)]
        shape = self.hidden.shape[:2]
        values, ids = (torch.cat(blocks).unflatten(0, shape) for blocks in zip(*parts, strict=True))
        return values, ids


Glance = Callable[[FrameOutput], Tensor]
"""Glancing (Qian et al. 2021): maps the output of a first pass to the ids (B, F), IGNORE for none, that the decoder
observes in a second pass."""


class PositionOutput(NamedTuple):
    """Output of a pass over all positions of targets of known lengths."""

    positions: FrameOutput
    """Output at the positions of the targets: one frame per position."""
    length_nll: Tensor
    """(B,), differentiable: the nll in nats of the true length; 0 for models whose targets end at eos."""


class TargetLengths(NamedTuple):
    """Candidate lengths of targets, in tokens."""

    lengths: Tensor
    """(B, K) int64, most probable first, at least 1."""
    log_probs: Tensor
    """(B, K), in nats: 0 for models whose targets end at eos; -inf where there are fewer than K candidates."""
