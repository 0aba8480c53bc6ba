"""What attention costs that strays from the diagonal: for tasks in which the target follows the source from its
beginning to its end, as sounds follow letters (Tachibana et al. 2018, arXiv:1710.08969).

Shapes: B sentences, T target positions, S source positions.
"""

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE

LEAST = 1e-8
"""A smaller share of the attention on symbols counts as this much."""


def diagonal_cost(attention: Tensor, src_places: Tensor, tgt_out: Tensor, width: float) -> Tensor:
    """Sum over the predicted tokens how much of their attention is how far from the diagonal, from 0 to 1 each.

    What a token at place t, of 0 to 1, gives to a position at place s costs 1 - exp(-(s - t)^2 / (2 width^2)), as a
    share of what it gives to all that stand somewhere: no attention is saved by looking at tags instead.

    Args:
        attention: (B, T, S).
        src_places: (B, S), from 0 at the first symbol to 1 at the last; below 0 for what stands nowhere, as padding
            and tags do, which does not count.
        tgt_out: (B, T), `IGNORE` at padding.
        width: how far from the diagonal attention may be, as a share of the whole.
    """
    predicted = tgt_out != IGNORE
    last = (predicted.sum(1, keepdim=True) - 1).clamp_min(1)
    tgt_places = torch.arange(tgt_out.size(1), device=tgt_out.device) / last  # (B, T)
    distance = src_places[:, None, :] - tgt_places[:, :, None]
    cost = -torch.expm1(-distance.square() / (2 * width**2))
    attention = attention.float().masked_fill((src_places < 0)[:, None, :], 0.0)
    strayed = (attention * cost).sum(2) / attention.sum(2).clamp_min(LEAST)
    return strayed.masked_fill(~predicted, 0.0).sum()
