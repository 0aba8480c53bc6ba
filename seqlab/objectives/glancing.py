"""Glancing: a decoder is shown a part of what it is to say, the less of it the more it knows (Qian et al. 2021,
arXiv:2008.07905)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from seqlab.base.bounds import Positive
from seqlab.data.batch import IGNORE
from seqlab.objectives.loss import SETTINGS, ObjectiveConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GlancingConfig(ObjectiveConfig):
    """The fields of all objectives that may show the decoder a part of the target (Qian et al. 2021)."""

    glancing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of positions: how many are shown to the decoder in training, as a share of those that a first pass gets wrong
    (Qian et al. 2021); 0 shows none and saves that pass."""
    least_glancing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share that `glancing` falls to, in a straight line."""
    decay_steps: Positive = 10_000
    """Steps in which it falls."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)

    @model_validator(mode="after")
    def _check_glancing(self) -> "GlancingConfig":
        if self.least_glancing > self.glancing:
            raise ValueError(
                f"`least_glancing` must be at most `glancing` ({self.glancing}), but is {self.least_glancing} instead."
            )
        return self


def glancing_share(config: GlancingConfig, step: int) -> float:
    """Give the share of the wrong positions that are shown after so many steps."""
    done = min(1.0, step / config.decay_steps)
    return config.glancing + (config.least_glancing - config.glancing) * done


def choose_shown(
    ids: Tensor, is_wrong: Tensor, padding: Tensor, share: float, generator: torch.Generator | None
) -> Tensor:
    """Choose positions at random, `share` times as many as are wrong: ids (B, P) -> those there, IGNORE elsewhere.

    None of the `padding` (B, P) is chosen, and what is wrong there does not count.
    """
    count = (share * (is_wrong & ~padding).sum(1)).round()
    return ids.masked_fill(~draw_positions(count, padding, generator), IGNORE)


def draw_positions(count: Tensor, padding: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw `count` (B,) positions of each row at random, none of the padding (B, P): (B, P) bool."""
    drawn = torch.rand(padding.shape, generator=generator, device=padding.device).masked_fill(padding, 2.0)
    return drawn.argsort(1).argsort(1) < count[:, None]
