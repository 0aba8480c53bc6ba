"""Paths through frames: the likeliest of all, and the likeliest that says a target (Graves et al. 2006).

A path has one id for each frame. It says the symbols that are left when runs of one id are taken as one and blanks are
dropped.

Shapes: B sentences, F frames, V ids, T symbols.
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
    """Give what the likeliest path of each sentence says, as far as the longest lengths go.

    Other symbols may be likelier, by the sum of their paths: a beam finds these. Of `config` the longest lengths and
    the length penalty of the scores are read; paths without any of `banned_ids` and eos are searched, but blanks are
    never banned.

    Args:
        model: scores all frames at once.
        batch: what it reads.
        config: the longest lengths and the length penalty.
        banned_ids: ids that no hypothesis may hold.
        need_scores: whether there are log-probabilities, those of all paths that say the symbols, as those of every
            other search; else they are NaN, which spares the sums over the vocabulary.

    Raises:
        ValueError: `config` asks for what such a model cannot do, or the model gives NaN.
    """
    config.check_frame_model()
    output = model(batch)
    ids, logits = output.likeliest_ids(sorted({*banned_ids, model.eos_id} - {model.blank_id}))
    refuse_nan(logits.masked_fill(output.padding, 0.0), "in a frame")
    paths = [path[:length] for path, length in zip(ids.tolist(), output.lengths.tolist(), strict=True)]
    rows = [[index for index, _ in groupby(path) if index != model.blank_id] for path in paths]
    limits = most_symbols(batch, len(rows), config)
    finished = [len(row) <= limit for row, limit in zip(rows, limits, strict=True)]
    said = [row[: limit + 1] for row, limit in zip(rows, limits, strict=True)]  # where the end would stand
    if not need_scores:
        return [Hypothesis(row, math.nan, math.nan, whole, []) for row, whole in zip(said, finished, strict=True)]
    shares = model.score_sequences(output.frames(), said)
    return [
        scored(row, each if whole else each[:-1], config)
        for row, whole, each in zip(said, finished, shares, strict=True)
    ]


def scored(symbols: list[int], shares: list[float], config: SearchConfig) -> Hypothesis:
    """Give what frames say as a hypothesis; `shares` of its log-probability, without the last where it was cut."""
    log_prob = math.fsum(shares)
    score = log_prob / length_penalty(len(shares), config)
    return Hypothesis(symbols, score, log_prob, len(shares) > len(symbols), shares)


def most_symbols(batch: Any, count: int, config: SearchConfig) -> list[int]:
    """Give the longest lengths of `count` sentences without their ends."""
    src_lengths = getattr(batch, "src_lengths", None)
    longest = length_limits(None if src_lengths is None else src_lengths.tolist(), count, config)[1]
    return [length - 1 for length in longest]


def viterbi_alignments(
    frames: FrameLogProbs, targets: Tensor, tgt_lengths: Tensor, blank_id: int, costs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Find the likeliest path that says each target: targets (B, T) -> its log-probability (B,) and its ids (B, F).

    By Viterbi's algorithm over the target with blanks between its symbols (section 4.1 there, with a maximum in the
    place of the sum). `costs` (B, F, 2T + 1): what each of these, blanks and symbols in turn, costs in each frame.
    Where there are too few frames it is -inf, and the path has no meaning; behind their last frame all paths hold
    blanks.
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
        one, two = F.pad(scores, (1, -1), value=NEG_INF), F.pad(scores, (2, -2), value=NEG_INF)
        scores, move = torch.stack((scores, one, two.masked_fill(~can_skip, NEG_INF))).max(0)
        scores = scores + emitted[:, frame]
        all_scores.append(scores)
        moves.append(move)
    ends = torch.stack((2 * tgt_lengths, (2 * tgt_lengths - 1).clamp_min(0)), 1)  # in a blank, in the last symbol
    log_prob, end = torch.stack(all_scores, 1)[rows, frames.lengths - 1].gather(1, ends).max(1)
    place = ends[rows, end]
    paths = targets.new_full(log_probs.shape[:2], blank_id)
    for frame in reversed(range(log_probs.size(1))):
        is_there = frame < frames.lengths
        paths[:, frame] = torch.where(is_there, labels[rows, place], blank_id)
        if frame > 0:
            place = torch.where(is_there, place - moves[frame - 1][rows, place], place)
    return log_prob, paths
