"""Losses of models that predict all positions of a target at once, of which a part may be shown to them.

Each is the sum of the smoothed cross entropy of the positions that are predicted, and of what the length costs.
"""

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE, Batch
from seqlab.models.interfaces import DecoderOutput, FrameOutput, PositionModel, PositionOutput
from seqlab.objectives.config import CmlmConfig, ParallelCrossEntropyConfig
from seqlab.objectives.glancing import drawn_positions, glancing_share, shown_part
from seqlab.objectives.loss import Loss, StepContext


class ParallelCrossEntropy:
    """Predict all positions at once (Gu et al. 2018), with glancing some of them given others (Qian et al. 2021)."""

    def __init__(self, config: ParallelCrossEntropyConfig) -> None:
        self.config = config

    def __call__(self, model: PositionModel, batch: Batch, context: StepContext) -> Loss:
        """Unit: positions that are predicted. Logs: `nll`, `length_nll` and `shown`, positions."""
        targets = model.position_targets(batch)

        def glance(output: FrameOutput) -> Tensor:
            ids, _ = output.likeliest_ids()
            return shown_part(targets, ids != targets, targets == IGNORE, share, context.generator)

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

    def __call__(self, model: PositionModel, batch: Batch, context: StepContext) -> Loss:
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
    is_hidden = drawn_positions(hidden, targets == IGNORE, generator)
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
