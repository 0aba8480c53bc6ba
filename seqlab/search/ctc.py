"""CTC: best-path decoding and Viterbi alignment of a target (Graves et al. 2006).

A path has one id for each frame. Merging runs of the same id and dropping blanks turns a path into its output.

Shapes: B sentences, F frames, V ids, T target ids.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.models.interfaces import NEG_INF, FrameLogProbs, FrameModel
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.search.rules import refuse_nan


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
        scored_hypothesis(row, each if finished else each[:-1], config)
        for row, finished, each in zip(outputs, is_finished, token_log_probs, strict=True)
    ]


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


def viterbi_alignments(
    frames: FrameLogProbs, targets: Tensor, tgt_lengths: Tensor, blank_id: int, costs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Find the most probable path of each target (B, T): its log-probability (B,) and its ids (B, F).

    Uses the Viterbi algorithm over the expanded target: blank, id, blank, ..., id, blank (section 4.1 of the paper,
    with a maximum instead of the sum). `costs` (B, F, 2T + 1) are subtracted from the log-probabilities of the expanded
    target in each frame. If there are too few frames, the log-probability is -inf and the path is meaningless.
    Positions after the last frame of a sentence are blank.
    """
    log_probs, rows = frames.log_probs, torch.arange(len(targets), device=targets.device)
    labels = targets.new_full((len(targets), 2 * targets.size(1) + 1), blank_id)
    labels[:, 1::2] = targets
    emitted = log_probs.gather(2, labels[:, None].expand(-1, log_probs.size(1), -1))  # (B, F, 2T + 1)
    emitted = emitted if costs is None else emitted - costs
    can_skip = F.pad((labels[:, 2:] != labels[:, :-2]) & (labels[:, 2:] != blank_id), (2, 0))
    scores = emitted[:, 0].index_fill(1, torch.arange(2, labels.size(1), device=labels.device), NEG_INF)
    all_scores, moves = [scores], []
    for frame in range(1, log_probs.size(1)):
        one_before, two_before = F.pad(scores, (1, -1), value=NEG_INF), F.pad(scores, (2, -2), value=NEG_INF)
        scores, move = torch.stack((scores, one_before, two_before.masked_fill(~can_skip, NEG_INF))).max(0)
        scores = scores + emitted[:, frame]
        all_scores.append(scores)
        moves.append(move)
    ends = torch.stack(
        (2 * tgt_lengths, (2 * tgt_lengths - 1).clamp_min(0)), 1
    )  # a path ends in the last blank or the last id
    log_prob, end = torch.stack(all_scores, 1)[rows, frames.lengths - 1].gather(1, ends).max(1)
    index = ends[rows, end]  # (B,) into `labels`
    paths = targets.new_full(log_probs.shape[:2], blank_id)
    for frame in reversed(range(log_probs.size(1))):
        is_frame = frame < frames.lengths
        paths[:, frame] = torch.where(is_frame, labels[rows, index], blank_id)
        if frame > 0:
            index = torch.where(is_frame, index - moves[frame - 1][rows, index], index)
    return log_prob, paths
