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
    ids: Tensor, is_wrong: Tensor, padding: Tensor, share: float, generator: torch.Generator | None
) -> Tensor:
    """Choose positions at random, `share` times as many as are wrong: ids (B, P) -> those there, IGNORE elsewhere.

    None of the `padding` (B, P) is chosen, and what is wrong there does not count.
    """
    count = (share * (is_wrong & ~padding).sum(1)).round()
    return ids.masked_fill(~drawn_positions(count, padding, generator), IGNORE)


def drawn_positions(count: Tensor, padding: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw `count` (B,) positions of each row at random, none of the padding (B, P): (B, P) bool."""
    drawn = torch.rand(padding.shape, generator=generator, device=padding.device).masked_fill(padding, 2.0)
    return drawn.argsort(1).argsort(1) < count[:, None]
