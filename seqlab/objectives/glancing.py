"""Glancing: the decoder observes random target tokens, in proportion to its errors (Qian et al. 2021)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from seqlab.base.bounds import Positive
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE
from seqlab.objectives.loss import SETTINGS, ObjectiveConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GlancingConfig(ObjectiveConfig):
    """Common fields of objectives with glancing (Qian et al. 2021, arXiv:2008.07905)."""

    glancing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Number of target positions that the decoder observes in training, as a share of the wrong predictions of a first
    pass (Qian et al. 2021); 0 turns glancing and the first pass off."""
    least_glancing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Final value of `glancing`, after a linear decay."""
    decay_steps: Positive = 10_000
    """Steps over which `glancing` decays."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)

    @model_validator(mode="after")
    def _check_glancing(self) -> "GlancingConfig":
        if self.least_glancing > self.glancing:
            raise ValueError(
                f"`least_glancing` must be at most `glancing` ({self.glancing}), but is {self.least_glancing} instead."
            )
        return self


def glancing_share(config: GlancingConfig, step: int) -> float:
    """Return the value of `glancing` at a step."""
    progress = min(1.0, step / config.decay_steps)
    return config.glancing + (config.least_glancing - config.glancing) * progress


def choose_shown(
    ids: Tensor, is_wrong: Tensor, padding: Tensor, share: float, generator: torch.Generator | None
) -> Tensor:
    """Choose random positions, `share` times as many as `is_wrong` marks: ids (B, P) -> chosen ids, IGNORE elsewhere.

    Positions in `padding` (B, P) are neither chosen nor counted as wrong.
    """
    count = (share * (is_wrong & ~padding).sum(1)).round()
    return ids.masked_fill(~draw_positions(count, padding, generator), IGNORE)


def draw_positions(count: Tensor, padding: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw `count` (B,) random positions of each row outside `padding` (B, P): a mask (B, P) bool."""
    drawn = torch.rand(padding.shape, generator=generator, device=padding.device).masked_fill(padding, 2.0)
    return drawn.argsort(1).argsort(1) < count[:, None]
