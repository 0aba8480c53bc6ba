"""Paths through frames: the likeliest of all, and the likeliest that says a target (Graves et al. 2006).

A path has one id for each frame. It says the symbols that are left when runs of one id are taken as one and blanks are
dropped.

Shapes: B sentences, F frames, V ids, T symbols.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.models.interfaces import FrameModel, Frames
from seqlab.search.config import SearchConfig
from seqlab.search.constraints import NEVER
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_penalty


def best_path_search(
    model: FrameModel, batch: Any, config: SearchConfig, *, banned_ids: Sequence[int] = (), need_scores: bool = True
) -> list[Hypothesis]:
    """Give what the likeliest path of each sentence says.

    Other symbols may be likelier, by the sum of their paths: a beam finds these. Of `config` the length penalty of the
    scores is read; paths without any of `banned_ids` and eos are searched, but blanks are never banned.

    Args:
        model: scores all frames at once.
        batch: what it reads.
        config: the length penalty.
        banned_ids: ids that no hypothesis may hold.
        need_scores: whether log-probabilities are those of all paths that say the symbols, as those of every other
            search; else they are the path's alone, which takes less time.
    """
    frames = model.frames(batch)
    never = sorted({*banned_ids, model.eos_id} - {model.blank_id})
    values, ids = frames.log_probs.index_fill(2, torch.tensor(never, device=frames.lengths.device), NEVER).max(2)
    paths = [path[:length] for path, length in zip(ids.tolist(), frames.lengths.tolist(), strict=True)]
    rows = [[index for index, _ in groupby(path) if index != model.blank_id] for path in paths]
    if need_scores:
        shares = model.score_said(frames, rows)
        log_probs = [sum(each) for each in shares]
    else:
        shares = [[] for _ in rows]
        log_probs = [sum(row[: len(path)]) for row, path in zip(values.tolist(), paths, strict=True)]
    return [scored(*each, config) for each in zip(rows, log_probs, shares, strict=True)]


def scored(symbols: list[int], log_prob: float, shares: list[float], config: SearchConfig) -> Hypothesis:
    """Give what frames say as a hypothesis, which ends where they do."""
    return Hypothesis(symbols, log_prob / length_penalty(len(symbols) + 1, config), log_prob, True, shares)


def alignments(frames: Frames, targets: Tensor, target_lengths: Tensor, blank_id: int) -> tuple[Tensor, Tensor]:
    """Find the likeliest path that says each target: targets (B, T) -> its log-probability (B,) and its ids (B, F).

    By Viterbi's algorithm over the target with blanks between its symbols (section 4.1 there, with a maximum in the
    place of the sum). Where there are too few frames it is -inf, and the path has no meaning; behind their last frame
    all paths hold blanks.
    """
    log_probs, rows = frames.log_probs, torch.arange(len(targets), device=targets.device)
    labels = targets.new_full((len(targets), 2 * targets.size(1) + 1), blank_id)
    labels[:, 1::2] = targets
    emitted = log_probs.gather(2, labels[:, None].expand(-1, log_probs.size(1), -1))  # (B, F, 2T + 1)
    can_skip = F.pad((labels[:, 2:] != labels[:, :-2]) & (labels[:, 2:] != blank_id), (2, 0))
    scores = emitted[:, 0].index_fill(1, torch.arange(2, labels.size(1), device=labels.device), NEVER)
    all_scores, moves = [scores], []
    for frame in range(1, log_probs.size(1)):
        one, two = F.pad(scores, (1, -1), value=NEVER), F.pad(scores, (2, -2), value=NEVER)
        scores, move = torch.stack((scores, one, two.masked_fill(~can_skip, NEVER))).max(0)
        scores = scores + emitted[:, frame]
        all_scores.append(scores)
        moves.append(move)
    ends = torch.stack((2 * target_lengths, (2 * target_lengths - 1).clamp_min(0)), 1)  # in a blank, in the last symbol
    log_prob, end = torch.stack(all_scores, 1)[rows, frames.lengths - 1].gather(1, ends).max(1)
    place = ends[rows, end]
    paths = targets.new_full(log_probs.shape[:2], blank_id)
    for frame in reversed(range(log_probs.size(1))):
        is_there = frame < frames.lengths
        paths[:, frame] = torch.where(is_there, labels[rows, place], blank_id)
        if frame > 0:
            place = torch.where(is_there, place - moves[frame - 1][rows, place], place)
    return log_prob, paths
