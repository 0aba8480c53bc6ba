"""Connectionist temporal classification (Graves et al. 2006) as a left-to-right model.

A path has one id for each frame. It says the symbols that are left when runs of one id are taken as one and blanks are
dropped; the probability of some symbols is the sum over all paths that say them. The probability of a prefix is the sum
over all paths whose symbols begin with it (section 3.2 there; Watanabe et al. 2017, section II-C), its ratio to that of
the prefix without its last symbol the probability of this symbol. So whatever searches with a `Stepper` searches
here: beams, exact search, ensembles, and shallow fusion with a language model.

Shapes: B sentences, F frames, V ids, N rows, T symbols.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.interfaces import IMPOSSIBLE_LOG_PROB, NEG_INF, FrameLogProbs, Step

WHOLE_VECTORS = 16
"""Of floats: each row begins where a vector does."""
LEAST = -1e4
"""The least log-probability of an id in a frame that is told from 0: sums of many are still numbers."""


@dataclass(frozen=True)
class CtcState:
    """Prefixes, and for each number of frames the sums over the paths of so many frames that say them."""

    frames: FrameLogProbs
    probs: Tensor | None
    """(B, F, V or more): the probabilities of the frames, with zeros up to whole vectors; steps need them."""
    sentences: Tensor
    """(N,) int64: whose frames a row's are."""
    symbol: Tensor
    """(N, F + 1) float64: log-probability of the paths of 0, 1, ... frames that end in the prefix's last symbol."""
    blank: Tensor
    """(N, F + 1) float64: of those that end in a blank, and of no frame at all."""
    prefix: Tensor
    """(N,) float64: log-probability of the paths of all frames whose symbols begin with the prefix."""
    last_ids: Tensor | None = None
    """(N,) int64: the prefixes' last symbols; None where nothing was read."""

    def select(self, rows: Tensor) -> "CtcState":
        """Keep, reorder and repeat rows (N',) int64."""
        last_ids = None if self.last_ids is None else self.last_ids[rows]
        return CtcState(
            self.frames,
            self.probs,
            self.sentences[rows],
            self.symbol[rows],
            self.blank[rows],
            self.prefix[rows],
            last_ids,
        )

    def fork(self) -> "CtcState":
        """Give the state itself: nothing writes into it."""
        return self

    @property
    def whole(self) -> Tensor:
        """Log-probability of all paths that say the prefix and nothing else: (N,) float64."""
        lengths = self.frames.lengths[self.sentences][:, None]
        return torch.logaddexp(self.symbol.gather(1, lengths), self.blank.gather(1, lengths))[:, 0]


class CtcPrefixes:
    """The steps of a `Stepper` over frames, and the scores of given symbols.

    Scores are log-probabilities of the next symbol, or of the end. What frames give to `eos_id` is left out: no symbol
    of a target is one. The first step reads `bos_id`, which is no symbol either, as those of other models do.
    """

    def __init__(self, *, blank_id: int, bos_id: int, eos_id: int) -> None:
        self.blank_id, self.bos_id, self.eos_id = blank_id, bos_id, eos_id

    def start(self, frames: FrameLogProbs) -> tuple[Tensor, CtcState]:
        """Begin with empty prefixes; the first step reads bos."""
        log_probs = frames.log_probs
        probs = F.pad(log_probs.float(), (0, -log_probs.size(2) % WHOLE_VECTORS), value=NEG_INF).exp_()
        return self._empty(frames, probs)

    def _empty(self, frames: FrameLogProbs, probs: Tensor | None) -> tuple[Tensor, CtcState]:
        of_blank = frames.log_probs[:, :, self.blank_id].clamp_min(LEAST)
        blank = F.pad(of_blank.double().cumsum(1), (1, 0))
        rows = torch.arange(len(blank), device=blank.device)
        state = CtcState(frames, probs, rows, torch.full_like(blank, NEG_INF), blank, blank.new_zeros(len(blank)))
        return frames.lengths.new_full((len(blank),), self.bos_id), state

    def step(self, last_ids: Tensor, state: CtcState) -> Step:
        """Lengthen prefixes by `last_ids` (N,), and score what comes next (N, V); the first step lengthens nothing."""
        state = replace(state, last_ids=last_ids) if state.last_ids is None else self._lengthened(last_ids, state)
        prefix = state.prefix.masked_fill(state.prefix == NEG_INF, 0.0)  # of rows that stand for nothing
        scores = _following(state, prefix)
        scores[:, self.blank_id] = NEG_INF
        scores[:, self.eos_id] = (state.whole - prefix).float()
        return Step(scores, state, None)

    def score(self, frames: FrameLogProbs, tgt_out: Tensor) -> Tensor:
        """Score targets that end in eos, tgt_out (B, T): (B, T) in nats, 0 where nothing is predicted.

        A symbol for which there are too few frames costs `IMPOSSIBLE_LOG_PROB`, and so does all that is behind it.
        """
        last_ids, state = self._empty(frames, None)
        state = replace(state, last_ids=last_ids)
        scores = []
        for ids in tgt_out.unbind(1):
            before, is_end = state.prefix, ids == self.eos_id
            longer = self._lengthened(ids.masked_fill(is_end | (ids == IGNORE), self.blank_id), state)
            after = torch.where(is_end, state.whole, longer.prefix)
            share = (after - before).masked_fill(after == NEG_INF, IMPOSSIBLE_LOG_PROB)
            scores.append(share.masked_fill(before == NEG_INF, IMPOSSIBLE_LOG_PROB))
            state = longer
        return torch.stack(scores, 1).float().masked_fill(tgt_out == IGNORE, 0.0)

    def score_sequences(self, frames: FrameLogProbs, symbols: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score what sentences may say: log-probabilities in nats of each symbol and of the end, over all paths."""
        tgt_out = frames.lengths.new_full((len(symbols), 1 + max(map(len, symbols))), IGNORE)
        for row, ids in zip(tgt_out, symbols, strict=True):
            row[: len(ids) + 1] = row.new_tensor([*ids, self.eos_id])
        scores = self.score(frames, tgt_out).tolist()
        return [row[: len(ids) + 1] for row, ids in zip(scores, symbols, strict=True)]

    def _lengthened(self, ids: Tensor, state: CtcState) -> CtcState:
        """Put a symbol (N,) behind each prefix."""
        assert state.last_ids is not None, "the first step has read bos"
        log_probs, rows = state.frames.log_probs, state.sentences[:, None]
        frames = torch.arange(log_probs.size(1), device=ids.device)
        of_symbol = log_probs[rows, frames, ids[:, None]].clamp_min(LEAST).double()  # (N, F)
        of_blank = log_probs[rows, frames, self.blank_id].clamp_min(LEAST).double()
        before = _before(state, ids == state.last_ids)
        symbol = _runs(before, of_symbol)
        return replace(
            state,
            symbol=symbol,
            blank=_runs(symbol[:, :-1], of_blank),
            prefix=_in_all(before + of_symbol, state),
            last_ids=ids,
        )


def _following(state: CtcState, prefix: Tensor) -> Tensor:
    """Give the log-probabilities of all symbols behind the prefixes, whose own are `prefix` (N,): (N, V)."""
    assert state.last_ids is not None, "the first step has read bos"
    assert state.probs is not None, "`start` has given them"
    before = _before(state)
    most = before.amax(1, keepdim=True)
    most = most.masked_fill(most == NEG_INF, 0.0)
    weights = (before - most).exp().float()
    lengths = state.frames.lengths.tolist()
    sentences, counts = (part.tolist() for part in state.sentences.unique_consecutive(return_counts=True))
    scores = weights.new_empty(len(weights), state.probs.size(2))
    # Sentence by sentence: how a product is summed up depends on its size, and on where in memory its rows begin.
    for sentence, rows, out in zip(sentences, weights.split(counts), scores.split(counts), strict=True):
        own = slice(lengths[sentence])
        torch.mm(rows[:, own].contiguous(), state.probs[sentence, own], out=out)
    scores = scores[:, : state.frames.log_probs.size(2)].log_().add_((most - prefix[:, None]).float())
    frames = torch.arange(before.size(1), device=before.device)
    again = state.frames.log_probs[state.sentences[:, None], frames, state.last_ids[:, None]].clamp_min(LEAST)
    is_any = torch.ones_like(state.last_ids, dtype=torch.bool)
    repeated = _in_all(_before(state, is_any) + again, state)
    return scores.scatter_(1, state.last_ids[:, None], (repeated - prefix).float()[:, None])


def _before(state: CtcState, is_repeated: Tensor | None = None) -> Tensor:
    """Give the sums over the paths behind which a symbol may begin (N, F): behind the same one they end in a blank."""
    symbol = state.symbol if is_repeated is None else state.symbol.masked_fill(is_repeated[:, None], NEG_INF)
    return torch.logaddexp(symbol, state.blank)[:, :-1].masked_fill(state.frames.padding[state.sentences], NEG_INF)


def _runs(before: Tensor, log_probs: Tensor) -> Tensor:
    """Sum over the paths that end in a run of one id: (N, F) behind what it begins, and its own, -> (N, F + 1).

    The recurrence sum[t] = (sum[t - 1] + before[t - 1]) * prob[t] is one cumulative sum of before[t - 1] over the
    product of all prob up to t - 1. It is taken from left to right, so that no padding changes it.
    """
    products = log_probs.cumsum(1)
    return F.pad(products + (before - products + log_probs).logcumsumexp(1), (1, 0), value=NEG_INF)


def _in_all(log_probs: Tensor, state: CtcState) -> Tensor:
    """Sum over the frames of each sentence: (N, F) -> (N,)."""
    return log_probs.logcumsumexp(1).gather(1, state.frames.lengths[state.sentences][:, None] - 1)[:, 0]
