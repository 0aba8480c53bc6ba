"""Losses of models that predict all positions of a target at once, of which a part may be shown to them.

Each is the sum of the smoothed cross entropy of the positions that are predicted, and of what the length costs.
"""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from seqlab.base.bounds import NonNegative
from seqlab.data.batch import IGNORE, TokenBatch
from seqlab.models.interfaces import DecoderOutput, FrameOutput, PositionModel, PositionOutput
from seqlab.objectives.glancing import GlancingConfig, choose_shown, draw_positions, glancing_share
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ParallelCrossEntropyConfig(GlancingConfig):
    """Cross entropy of all symbols of a target at once, and of its length (Gu et al. 2018)."""

    family: Literal["parallel_cross_entropy"] = "parallel_cross_entropy"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    length_weight: NonNegative = 1.0
    """Weight of what the lengths of the targets cost."""

    outputs: ClassVar[str] = "positions"
    needs: ClassVar[tuple[type, ...]] = (PositionModel,)

    def build(self) -> "ParallelCrossEntropy":
        """Build the objective."""
        return ParallelCrossEntropy(self)

    def check(self, config: Any) -> None:
        """Raise ValueError where the lengths of targets are weighted, but cost nothing."""
        super().check(config)
        if self.length_weight != type(self).length_weight and not config.model.learns_lengths:
            raise ValueError(
                "`objective.length_weight` is of what lengths cost, but with `model.length: end_mark` that is nothing: "
                "leave it out."
            )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CmlmConfig(ObjectiveConfig):
    """Cross entropy of the hidden symbols of a target given the others, of which there are any number, and of its
    length (conditional masked language model, Ghazvininejad et al. 2019)."""

    family: Literal["cmlm"] = "cmlm"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    length_weight: NonNegative = 1.0
    """Weight of what the lengths of the targets cost."""
    own_words: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the targets that are learned beside words of the model's own, which fill the gaps of a pass before: of
    these it learns to say all symbols anew, those that it is shown included (after Ghazvininejad et al. 2020,
    arXiv:2001.08785). Such a target counts with all of its symbols, another with those that are hidden, half of them
    in the mean."""

    outputs: ClassVar[str] = "gaps"
    needs: ClassVar[tuple[type, ...]] = (PositionModel,)
    tasks: ClassVar[tuple[str, ...]] = ("translation",)

    def build(self) -> "Cmlm":
        """Build the objective."""
        return Cmlm(self)


class ParallelCrossEntropy:
    """Predict all positions at once (Gu et al. 2018), with glancing some of them given others (Qian et al. 2021)."""

    def __init__(self, config: ParallelCrossEntropyConfig) -> None:
        self.config = config

    def __call__(self, model: PositionModel, batch: TokenBatch, context: StepContext) -> Loss:
        """Unit: positions that are predicted. Logs: `nll`, `length_nll` and `shown`, positions."""
        targets = model.position_targets(batch)

        def glance(output: FrameOutput) -> Tensor:
            ids, _ = output.likeliest_ids()
            return choose_shown(targets, ids != targets, targets == IGNORE, share, context.generator)

        share = glancing_share(self.config, context.step)
        output = model(batch, glance=glance) if share else model(batch)
        return position_loss(output, targets, ~output.positions.is_shown, self.config)


class Cmlm:
    """Predict any number of hidden positions given the others; beside words of the model's own all positions.

    These stand in the gaps of a pass before, some of whose positions are hidden again (after Ghazvininejad et al. 2020,
    arXiv:2001.08785).
    """

    def __init__(self, config: CmlmConfig) -> None:
        self.config = config

    def __call__(self, model: PositionModel, batch: TokenBatch, context: StepContext) -> Loss:
        """Unit: positions that are predicted. Logs: `nll`, `length_nll` and `shown`, positions."""
        targets = model.position_targets(batch)
        shown = _some_hidden(targets, targets, context.generator)
        if not self.config.own_words:
            return position_loss(model(batch, shown=shown), targets, shown == IGNORE, self.config)
        drawn = torch.rand(len(targets), 1, generator=context.generator, device=targets.device)
        is_own = drawn < self.config.own_words

        def show_own(output: FrameOutput) -> Tensor:
            ids, _ = output.likeliest_ids()
            said = ids.where(shown == IGNORE, shown)
            return _some_hidden(said, targets, context.generator).where(is_own, shown)

        output = model(batch, shown=shown, glance=show_own)
        return position_loss(output, targets, is_own | ~output.positions.is_shown, self.config)


def _some_hidden(ids: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
    """Hide 1 to n of the n symbols of each target, each number as likely as the others: ids (B, P), IGNORE there."""
    symbols = (targets != IGNORE).sum(1)
    share = torch.rand(len(targets), generator=generator, device=targets.device)
    hidden = (share * symbols).floor() + 1
    is_hidden = draw_positions(hidden, targets == IGNORE, generator)
    return ids.masked_fill(is_hidden | (targets == IGNORE), IGNORE)


def position_loss(
    output: PositionOutput,
    targets: Tensor,
    is_predicted: Tensor,
    config: ParallelCrossEntropyConfig | CmlmConfig,
) -> Loss:
    """Sum the smoothed cross entropy of the targets (B, P) that are predicted, and the weighted cost of the lengths."""
    predicted = targets.where(is_predicted, IGNORE)
    total, nll = DecoderOutput(output.positions.hidden, output.positions.projection).cross_entropy(
        predicted, config.label_smoothing
    )
    length_nll = output.length_nll.where((targets != IGNORE).any(1), 0.0).sum()
    logs = {"nll": nll, "length_nll": length_nll.detach(), "shown": output.positions.is_shown.sum()}
    return Loss(
        total + config.length_weight * length_nll,
        (predicted != IGNORE).sum().to(total),
        {name: value.to(total) for name, value in logs.items()},
    )
