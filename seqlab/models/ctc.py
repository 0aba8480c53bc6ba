"""CTC (Graves et al. 2006) as an autoregressive model: prefix probabilities and scores of given sequences.

A path has one id per frame. Merging repeated ids and dropping blanks turns a path into tokens. The probability of a
token sequence is the sum over all paths that yield it. The probability of a prefix is the sum over all paths whose
tokens start with it (Graves et al. 2006, section 3.2; Watanabe et al. 2017, section II-C). The probability of a token
is the ratio of two prefix probabilities, with and without the token. With these probabilities a CTC model is a
`Stepper`: it can be used in beam search, exact search, ensembles, and shallow fusion with a language model.

Shapes: B sentences, F frames, V ids, N rows, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.interfaces import Step
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB, NEG_INF, FrameLogProbs

ROW_ALIGNMENT = 16
"""The size of a row is padded to a multiple of this, in floats, so that each row starts at a vector boundary."""
MIN_FRAME_LOG_PROB = -1e4
"""Lower bound of log-probabilities in a frame, so that sums over frames stay finite."""


@dataclass(frozen=True)
class CtcState:
    """Prefixes with CTC's forward variables: log-probabilities, in nats, of sets of paths."""

    frames: FrameLogProbs
    probs: Tensor | None
    """(B, F, V or more): probabilities by frame, padded with zeros to `ROW_ALIGNMENT`; None if no step follows."""
    sentences: Tensor
    """(N,) int64: the sentence of each row."""
    nonblank: Tensor
    """(N, F + 1) float64: paths over the first 0, 1, ... frames that yield the prefix and end in its last token."""
    blank: Tensor
    """(N, F + 1) float64: paths over the first 0, 1, ... frames that yield the prefix and end in a blank; also the path
    of no frames."""
    prefix: Tensor
    """(N,) float64: paths over all frames whose tokens start with the prefix."""
    last_ids: Tensor | None = None
    """(N,) int64: the last token of each prefix; None before the first step."""

    def select(self, rows: Tensor) -> "CtcState":
        """Keep, reorder or repeat rows (N',) int64."""
        last_ids = None if self.last_ids is None else self.last_ids[rows]
        return CtcState(
            self.frames,
            self.probs,
            self.sentences[rows],
            self.nonblank[rows],
            self.blank[rows],
            self.prefix[rows],
            last_ids,
        )

    def fork(self) -> "CtcState":
        """Return the same state, which is immutable."""
        return self

    @property
    def complete(self) -> Tensor:
        """(N,) float64: paths over all frames that yield exactly the prefix."""
        lengths = self.frames.lengths[self.sentences][:, None]
        return torch.logaddexp(self.nonblank.gather(1, lengths), self.blank.gather(1, lengths))[:, 0]


class CtcPrefixes:
    """CTC prefix scoring: the steps of a `Stepper`, and the scores of given sequences.

    Scores are log-probabilities of the next token; that of `eos_id` is the end of the sequence. The probability of
    `eos_id` in the frames is ignored, since no target contains it. The first step reads `bos_id`, as in other models.
    """

    def __init__(self, *, blank_id: int, bos_id: int, eos_id: int) -> None:
        self.blank_id, self.bos_id, self.eos_id = blank_id, bos_id, eos_id

    def start(self, frames: FrameLogProbs) -> tuple[Tensor, CtcState]:
        """Start with empty prefixes; the first step reads bos."""
        log_probs = frames.log_probs
        probs = F.pad(log_probs.float(), (0, -log_probs.size(2) % ROW_ALIGNMENT), value=NEG_INF).exp_()
        return self._initial_state(frames, probs)

    def _initial_state(self, frames: FrameLogProbs, probs: Tensor | None) -> tuple[Tensor, CtcState]:
        blank_log_probs = frames.log_probs[:, :, self.blank_id].clamp_min(MIN_FRAME_LOG_PROB)
        blank = F.pad(blank_log_probs.double().cumsum(1), (1, 0))
        rows = torch.arange(len(blank), device=blank.device)
        state = CtcState(frames, probs, rows, torch.full_like(blank, NEG_INF), blank, blank.new_zeros(len(blank)))
        return frames.lengths.new_full((len(blank),), self.bos_id), state

    def step(self, last_ids: Tensor, state: CtcState) -> Step:
        """Extend the prefixes by `last_ids` (N,) and score the next token (N, V); the first step extends no prefix."""
        state = replace(state, last_ids=last_ids) if state.last_ids is None else self._extend(last_ids, state)
        prefix = state.prefix.masked_fill(state.prefix == NEG_INF, 0.0)  # of impossible prefixes
        scores = _next_token_scores(state, prefix)
        scores[:, self.blank_id] = NEG_INF
        scores[:, self.eos_id] = (state.complete - prefix).float()
        return Step(scores, state, None)

    def score(self, frames: FrameLogProbs, tgt_out: Tensor) -> Tensor:
        """Score targets that end in eos, tgt_out (B, T): (B, T) in nats, 0 at ignored positions.

        A token scores `IMPOSSIBLE_LOG_PROB` if there are too few frames for it, and so do all tokens after it.
        """
        last_ids, state = self._initial_state(frames, None)
        state = replace(state, last_ids=last_ids)
        scores = []
        for ids in tgt_out.unbind(1):
            before, is_end = state.prefix, ids == self.eos_id
            extended = self._extend(ids.masked_fill(is_end | (ids == IGNORE), self.blank_id), state)
            after = torch.where(is_end, state.complete, extended.prefix)
            ratio = (after - before).masked_fill(after == NEG_INF, IMPOSSIBLE_LOG_PROB)
            scores.append(ratio.masked_fill(before == NEG_INF, IMPOSSIBLE_LOG_PROB))
            state = extended
        return torch.stack(scores, 1).float().masked_fill(tgt_out == IGNORE, 0.0)

    def score_sequences(self, frames: FrameLogProbs, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score one sequence for each sentence: the log-probabilities in nats of its tokens and, last, of its end."""
        tgt_out = frames.lengths.new_full((len(sequences), 1 + max(map(len, sequences))), IGNORE)
        for row, ids in zip(tgt_out, sequences, strict=True):
            row[: len(ids) + 1] = row.new_tensor([*ids, self.eos_id])
        scores = self.score(frames, tgt_out).tolist()
        return [row[: len(ids) + 1] for row, ids in zip(scores, sequences, strict=True)]

    def _extend(self, ids: Tensor, state: CtcState) -> CtcState:
        """Append a token (N,) to each prefix."""
        assert state.last_ids is not None, "the first step has read bos"
        log_probs, rows = state.frames.log_probs, state.sentences[:, None]
        frames = torch.arange(log_probs.size(1), device=ids.device)
        token_log_probs = log_probs[rows, frames, ids[:, None]].clamp_min(MIN_FRAME_LOG_PROB).double()  # (N, F)
        blank_log_probs = log_probs[rows, frames, self.blank_id].clamp_min(MIN_FRAME_LOG_PROB).double()
        before = _sum_paths_before_token(state, ids == state.last_ids)
        nonblank = _sum_paths_ending_in_run(before, token_log_probs)
        return replace(
            state,
            nonblank=nonblank,
            blank=_sum_paths_ending_in_run(nonblank[:, :-1], blank_log_probs),
            prefix=_sum_over_frames(before + token_log_probs, state),
            last_ids=ids,
        )


def _next_token_scores(state: CtcState, prefix: Tensor) -> Tensor:
    """Compute the log-probabilities (N, V) of the next token, given those of the prefixes, `prefix` (N,)."""
    assert state.last_ids is not None, "the first step has read bos"
    assert state.probs is not None, "`start` sets them"
    before = _sum_paths_before_token(state)
    largest = before.amax(1, keepdim=True)
    largest = largest.masked_fill(largest == NEG_INF, 0.0)
    weights = (before - largest).exp().float()
    lengths = state.frames.lengths.tolist()
    sentences, counts = (part.tolist() for part in state.sentences.unique_consecutive(return_counts=True))
    scores = weights.new_empty(len(weights), state.probs.size(2))
    # One product per sentence: the order of summation depends on the size of a product and the alignment of its rows.
    for sentence, rows, out in zip(sentences, weights.split(counts), scores.split(counts), strict=True):
        frames_of_sentence = slice(lengths[sentence])
        torch.mm(rows[:, frames_of_sentence].contiguous(), state.probs[sentence, frames_of_sentence], out=out)
    scores = scores[:, : state.frames.log_probs.size(2)].log_().add_((largest - prefix[:, None]).float())
    frames = torch.arange(before.size(1), device=before.device)
    last = state.frames.log_probs[state.sentences[:, None], frames, state.last_ids[:, None]].clamp_min(
        MIN_FRAME_LOG_PROB
    )
    all_rows = torch.ones_like(state.last_ids, dtype=torch.bool)
    repeated = _sum_over_frames(_sum_paths_before_token(state, all_rows) + last, state)
    return scores.scatter_(1, state.last_ids[:, None], (repeated - prefix).float()[:, None])


def _sum_paths_before_token(state: CtcState, is_repeated: Tensor | None = None) -> Tensor:
    """Sum, for each frame, over the paths before it that allow a new token to start there: (N, F).

    Where `is_repeated` (N,) is True, the new token equals the last one, and the paths must end in a blank.
    """
    nonblank = state.nonblank if is_repeated is None else state.nonblank.masked_fill(is_repeated[:, None], NEG_INF)
    return torch.logaddexp(nonblank, state.blank)[:, :-1].masked_fill(state.frames.padding[state.sentences], NEG_INF)


def _sum_paths_ending_in_run(before: Tensor, log_probs: Tensor) -> Tensor:
    """Sum over the paths that end in a run of one id: (N, F + 1).

    Args:
        before: (N, F), sum over the paths before each frame, as the first frame of the run.
        log_probs: (N, F), of the id in each frame.

    The recurrence sum[t] = (sum[t - 1] + before[t - 1]) * prob[t] is computed as one cumulative sum of before[t - 1],
    divided by the product of all prob up to t - 1. Frames are summed from first to last, so padding has no effect.
    """
    products = log_probs.cumsum(1)
    return F.pad(products + (before - products + log_probs).logcumsumexp(1), (1, 0), value=NEG_INF)


def _sum_over_frames(log_probs: Tensor, state: CtcState) -> Tensor:
    """Sum over the frames of each sentence, in log space: (N, F) -> (N,)."""
    return log_probs.logcumsumexp(1).gather(1, state.frames.lengths[state.sentences][:, None] - 1)[:, 0]
