"""Losses of non-autoregressive models, which predict all target positions in parallel and may observe some of them.

Each loss is the sum of the label-smoothed cross entropy of the predicted positions and the cross entropy of the length.
"""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from seqlab.base.bounds import NonNegative
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, TokenBatch
from seqlab.models.outputs import DecoderOutput, FrameOutput, PositionOutput
from seqlab.objectives.glancing import GlancingConfig, choose_shown, draw_positions, glancing_share
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext
from seqlab.search.protocols import PositionModel


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ParallelCrossEntropyConfig(GlancingConfig):
    """Cross entropy of all target positions in parallel, and of the target length (Gu et al. 2018)."""

    family: Literal["parallel_cross_entropy"] = "parallel_cross_entropy"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Probability mass that is taken from the target and spread uniformly over the vocabulary."""
    length_weight: NonNegative = 1.0
    """Weight of the cross entropy of target lengths."""

    outputs: ClassVar[str] = "positions"
    needs: ClassVar[tuple[type, ...]] = (PositionModel,)

    def build(self) -> "ParallelCrossEntropy":
        """Build the objective."""
        return ParallelCrossEntropy(self)

    def check(self, config: Any) -> None:
        """Raise ValueError if `length_weight` is set, but the model does not predict lengths."""
        super().check(config)
        if self.length_weight != type(self).length_weight and "target_lengths" not in config.model.abilities:
            raise ValueError(
                "`objective.length_weight` has no effect, because `model.length: end_mark` predicts no lengths: leave "
                "it out."
            )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CmlmConfig(ObjectiveConfig):
    """Conditional masked language model (Ghazvininejad et al. 2019): cross entropy of masked target tokens, given the
    others, and of the target length. The number of masked tokens is random."""

    family: Literal["cmlm"] = "cmlm"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Probability mass that is taken from the target and spread uniformly over the vocabulary."""
    length_weight: NonNegative = 1.0
    """Weight of the cross entropy of target lengths."""
    own_words: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the targets for which the model observes its own predictions, made for the masked positions in a first
    pass (SMART, Ghazvininejad et al. 2020, arXiv:2001.08785). The loss of these targets is over all tokens. That of the
    other targets is over the masked tokens, half of all on average."""

    outputs: ClassVar[str] = "gaps"
    needs: ClassVar[tuple[type, ...]] = (PositionModel,)
    tasks: ClassVar[tuple[str, ...]] = ("translation",)

    def build(self) -> "Cmlm":
        """Build the objective."""
        return Cmlm(self)


class ParallelCrossEntropy:
    """Cross entropy of all positions (Gu et al. 2018), or of those not observed with glancing (Qian et al. 2021)."""

    def __init__(self, config: ParallelCrossEntropyConfig) -> None:
        self.config = config

    def __call__(self, model: PositionModel, batch: TokenBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: predicted positions. Logs: `nll`, `length_nll`, and `shown`, the number of positions given as input.
        """
        targets = model.position_targets(batch)

        def glance(output: FrameOutput) -> Tensor:
            ids, _ = output.most_probable_ids()
            return choose_shown(targets, ids != targets, targets == IGNORE, share, context.generator)

        share = glancing_share(self.config, context.step)
        output = model(batch, glance=glance) if share else model(batch)
        return position_loss(output, targets, ~output.positions.is_shown, self.config)


class Cmlm:
    """Cross entropy of masked positions (CMLM); with `own_words`, of all positions of some targets (SMART).

    SMART (after Ghazvininejad et al. 2020, arXiv:2001.08785): a first pass predicts the masked positions. Then random
    positions of the result are masked again.
    """

    def __init__(self, config: CmlmConfig) -> None:
        self.config = config

    def __call__(self, model: PositionModel, batch: TokenBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: predicted positions. Logs: `nll`, `length_nll`, and `shown`, the number of positions given as input.
        """
        targets = model.position_targets(batch)
        shown = _mask_randomly(targets, targets, context.generator)
        if not self.config.own_words:
            return position_loss(model(batch, shown=shown), targets, shown == IGNORE, self.config)
        drawn = torch.rand(len(targets), 1, generator=context.generator, device=targets.device)
        uses_predictions = drawn < self.config.own_words

        def show_predictions(output: FrameOutput) -> Tensor:
            ids, _ = output.most_probable_ids()
            filled = ids.where(shown == IGNORE, shown)
            return _mask_randomly(filled, targets, context.generator).where(uses_predictions, shown)

        output = model(batch, shown=shown, glance=show_predictions)
        return position_loss(output, targets, uses_predictions | ~output.positions.is_shown, self.config)


def _mask_randomly(ids: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
    """Mask k random tokens of each target of n tokens, with k uniform from 1 to n: ids (B, P), IGNORE where masked."""
    tokens = (targets != IGNORE).sum(1)
    share = torch.rand(len(targets), generator=generator, device=targets.device)
    num_masked = (share * tokens).floor() + 1
    is_masked = draw_positions(num_masked, targets == IGNORE, generator)
    return ids.masked_fill(is_masked | (targets == IGNORE), IGNORE)


def position_loss(
    output: PositionOutput,
    targets: Tensor,
    is_predicted: Tensor,
    config: ParallelCrossEntropyConfig | CmlmConfig,
) -> Loss:
    """Sum the label-smoothed cross entropy of predicted targets (B, P) and the weighted cross entropy of lengths."""
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
