"""CTC: best-path decoding and Viterbi alignment of a target (Graves et al. 2006).

A path has one id for each frame. Merging runs of the same id and dropping blanks turns a path into its output.

Shapes: B sentences, F frames, V ids, T target ids.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.models.outputs import NEG_INF, FrameLogProbs
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.search.protocols import FrameModel
from seqlab.search.rules import refuse_nan
from seqlab.search.sampling import UniformNumbers, draw_ids

BLOCK_FRAMES = 256
"""Number of frames whose moves are kept at a time in a Viterbi alignment."""


def best_path_search(
    model: FrameModel, batch: Any, config: SearchConfig, *, banned_ids: Sequence[int] = (), need_scores: bool = True
) -> list[Hypothesis]:
    """Decode the most probable path of each sentence, cut at the maximum length.

    Another output may have a higher total probability over all of its paths; prefix beam search finds such outputs.
    Paths that contain eos or any of `banned_ids` are excluded; the blank is never banned.

    Args:
        model: a model that scores all frames at once.
        batch: input of the model.
        config: maximum lengths and length penalty.
        banned_ids: ids that no hypothesis may contain.
        need_scores: whether to compute log-probabilities, summed over all paths of the output as in other searches. If
            not, they are NaN, which saves the normalization over the vocabulary.

    Raises:
        ValueError: a field of `config` does not apply to such a model, or the model gives NaN.
    """
    config.check_frame_model()
    output = model(batch)
    ids, logits = output.most_probable_ids(sorted({*banned_ids, model.eos_id} - {model.blank_id}))
    refuse_nan(logits.masked_fill(output.padding, 0.0), "in a frame")
    paths = [path[:length] for path, length in zip(ids.tolist(), output.lengths.tolist(), strict=True)]
    rows = [[index for index, _ in groupby(path) if index != model.blank_id] for path in paths]
    limits = max_ids_without_eos(batch, len(rows), config)
    is_finished = [len(row) <= limit for row, limit in zip(rows, limits, strict=True)]
    # An unfinished output has one id more, at the position of eos.
    outputs = [row[: limit + 1] for row, limit in zip(rows, limits, strict=True)]
    if not need_scores:
        return [
            Hypothesis(row, math.nan, math.nan, finished, [])
            for row, finished in zip(outputs, is_finished, strict=True)
        ]
    token_log_probs = model.score_sequences(output.frames(), outputs)
    return [
        scored_hypothesis(row, log_probs if finished else log_probs[:-1], config)
        for row, finished, log_probs in zip(outputs, is_finished, token_log_probs, strict=True)
    ]


@torch.inference_mode()
def sample_outputs(
    model: FrameModel, batch: Any, seed: int, row_numbers: Sequence[int], num_samples: int
) -> list[list[int]]:
    """Draw random paths and return their outputs, `num_samples` for each sentence in order.

    The id of each frame is drawn from its own distribution, so that an output has the sum of the probabilities of its
    paths. Random numbers depend on the seed, the number of the sentence and that of the sample, as in `sample`.
    """
    frames = model.frames(batch)
    lengths = [length for length in frames.lengths.tolist() for _ in range(num_samples)]
    uniforms = UniformNumbers(seed, row_numbers, num_samples)
    paths: list[list[int]] = [[] for _ in lengths]
    for frame in range(max(lengths, default=0)):
        rows = [row for row, length in enumerate(lengths) if frame < length]
        sentences = torch.tensor([row // num_samples for row in rows], device=frames.log_probs.device)
        drawn = draw_ids(frames.log_probs[sentences, frame], torch.from_numpy(uniforms.draw(rows)))
        for row, index in zip(rows, drawn.tolist(), strict=True):
            paths[row].append(index)
    return [[index for index, _ in groupby(path) if index != model.blank_id] for path in paths]


def scored_hypothesis(ids: list[int], token_log_probs: list[float], config: SearchConfig) -> Hypothesis:
    """Make a hypothesis of ids and their log-probabilities; it is finished if that of eos is given as well."""
    log_prob = math.fsum(token_log_probs)
    score = log_prob / length_penalty(len(token_log_probs), config)
    return Hypothesis(ids, score, log_prob, len(token_log_probs) > len(ids), token_log_probs)


def max_ids_without_eos(batch: Any, count: int, config: SearchConfig) -> list[int]:
    """Return the maximum lengths of the hypotheses of `count` sentences, without eos."""
    src_lengths = getattr(batch, "src_lengths", None)
    max_lengths = length_limits(None if src_lengths is None else src_lengths.tolist(), count, config)[1]
    return [length - 1 for length in max_lengths]


class StateCosts(NamedTuple):
    """Costs of states of the expanded target in certain frames: blank, id, blank, ..., id, blank."""

    frames: Tensor
    """(B, F), cost in nats in each frame."""
    states: Tensor
    """(B, 2T + 1), whether a state has these costs."""


def viterbi_alignments(
    frames: FrameLogProbs, targets: Tensor, tgt_lengths: Tensor, blank_id: int, costs: StateCosts | None = None
) -> tuple[Tensor, Tensor]:
    """Find the most probable path of each target (B, T): its log-probability (B,) and its ids (B, F).

    Uses the Viterbi algorithm over the expanded target: blank, id, blank, ..., id, blank (section 4.1 of the paper,
    with a maximum instead of the sum). `costs` are subtracted from the log-probabilities. If there are too few frames,
    the log-probability is -inf and the path is meaningless. Positions after the last frame of a sentence are blank.

    Memory grows with F + T, not with F * T: the moves of a block of frames are computed again from the scores before
    it, unless it is the last one.
    """
    trellis = _Trellis(frames.log_probs, targets, blank_id, costs)
    rows, last_frames = torch.arange(len(targets), device=targets.device), frames.lengths - 1
    num_frames, states = frames.log_probs.size(1), trellis.labels.size(1)
    scores = trellis.emitted(0).index_fill(1, torch.arange(2, states, device=targets.device), NEG_INF)
    last_scores, before, moves = scores, [], [torch.zeros(0)]
    starts = range(1, num_frames, BLOCK_FRAMES)
    for start in starts:
        before.append(scores)
        moves = []
        for frame in range(start, min(start + BLOCK_FRAMES, num_frames)):
            scores, move = trellis.advance(scores, frame)
            moves.append(move)
            last_scores = torch.where((last_frames == frame)[:, None], scores, last_scores)
    ends = torch.stack(
        (2 * tgt_lengths, (2 * tgt_lengths - 1).clamp_min(0)), 1
    )  # a path ends in the last blank or the last id
    log_prob, end = last_scores.gather(1, ends).max(1)
    index = ends[rows, end]  # (B,) into the labels
    paths = targets.new_full(frames.log_probs.shape[:2], blank_id)
    for start, scores in reversed(list(zip(starts, before, strict=True))):
        block = range(start, min(start + BLOCK_FRAMES, num_frames))
        if start != starts[-1]:
            moves = trellis.moves(scores, block)
        for frame in reversed(block):
            is_frame = frame <= last_frames
            paths[:, frame] = torch.where(is_frame, trellis.labels[rows, index], blank_id)
            index = torch.where(is_frame, index - moves[frame - start][rows, index], index)
    if num_frames:
        paths[:, 0] = torch.where(last_frames >= 0, trellis.labels[rows, index], blank_id)
    return log_prob, paths


class _Trellis:
    """States of the expanded targets (B, 2T + 1) in each frame."""

    def __init__(self, log_probs: Tensor, targets: Tensor, blank_id: int, costs: StateCosts | None) -> None:
        self.log_probs, self.costs = log_probs, costs
        self.labels = targets.new_full((len(targets), 2 * targets.size(1) + 1), blank_id)
        self.labels[:, 1::2] = targets
        can_skip = (self.labels[:, 2:] != self.labels[:, :-2]) & (self.labels[:, 2:] != blank_id)
        self.can_skip = F.pad(can_skip, (2, 0))

    def emitted(self, frame: int) -> Tensor:
        """Return the log-probabilities of the states in a frame, without their costs: (B, 2T + 1)."""
        log_probs = self.log_probs[:, frame].gather(1, self.labels)
        return log_probs if self.costs is None else log_probs - self.costs.frames[:, frame, None] * self.costs.states

    def advance(self, scores: Tensor, frame: int) -> tuple[Tensor, Tensor]:
        """Return the scores of the best paths to each state in a frame, and the number of states that each moved by."""
        one_before, two_before = F.pad(scores, (1, -1), value=NEG_INF), F.pad(scores, (2, -2), value=NEG_INF)
        two_before = two_before.masked_fill(~self.can_skip, NEG_INF)
        scores, move = torch.stack((scores, one_before, two_before)).max(0)
        return scores + self.emitted(frame), move.to(torch.int8)

    def moves(self, scores: Tensor, block: range) -> list[Tensor]:
        """Return the moves in a block of frames, from the scores before it."""
        moves = []
        for frame in block:
            scores, move = self.advance(scores, frame)
            moves.append(move)
        return moves
