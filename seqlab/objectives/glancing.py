"""Glancing: a decoder is shown a part of what it is to say, the less of it the more it knows (Qian et al. 2021,
arXiv:2008.07905)."""

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.objectives.config import GlancingConfig


def glancing_share(config: GlancingConfig, step: int) -> float:
    """Give the share of the wrong positions that are shown after so many steps."""
    done = min(1.0, step / config.decay_steps)
    return config.glancing + (config.least_glancing - config.glancing) * done


def shown_part(
    ids: Tensor, is_wrong: Tensor, lengths: Tensor, share: float, generator: torch.Generator | None
) -> Tensor:
    """Choose positions at random, `share` times as many as are wrong: ids (B, P) -> those there, IGNORE elsewhere.

    None is chosen behind the `lengths` (B,), and what is wrong there does not count.
    """
    is_behind = torch.arange(ids.size(1), device=ids.device) >= lengths[:, None]
    count = (share * (is_wrong & ~is_behind).sum(1)).round()
    return ids.masked_fill(~drawn_positions(count, is_behind, generator), IGNORE)


def drawn_positions(count: Tensor, is_behind: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw `count` (B,) positions of each row at random, none that is behind its end: (B, P) bool."""
    drawn = torch.rand(is_behind.shape, generator=generator, device=is_behind.device).masked_fill(is_behind, 2.0)
    return drawn.argsort(1).argsort(1) < count[:, None]
