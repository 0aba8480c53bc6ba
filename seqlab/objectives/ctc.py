"""CTC: the probability of a target is that of all paths through the frames that say it (Graves et al. 2006).

With glancing (Qian et al. 2021, arXiv:2008.07905) the decoder is shown parts of the likeliest of these paths, the more
of them the more frames a first pass gets wrong, and has to say the rest.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.data.batch import IGNORE, Batch
from seqlab.models.interfaces import FrameModel, Frames
from seqlab.objectives.config import CtcConfig
from seqlab.objectives.loss import Loss, StepContext
from seqlab.search.ctc import alignments


class Ctc:
    """Sum the negative log-probabilities of the targets."""

    def __init__(self, config: CtcConfig) -> None:
        self.config = config

    def __call__(self, model: FrameModel, batch: Batch, context: StepContext) -> Loss:
        """Unit: target tokens, the end of sentence counted, which the frames have no token for.

        Logs: `nll`; `too_long`, tokens of the targets for which there are too few frames, which teach nothing; with
        glancing `shown`, the frames that were shown.
        """
        assert batch.tgt_out is not None, "CTC needs a target"
        targets = Targets.of(batch.tgt_out)
        shown, logs = None, {}
        if share := glancing_share(self.config, context.step):
            shown = glanced(model, batch, targets, share, context.generator)
            logs["shown"] = (shown != IGNORE).sum()
        output = model(batch, shown)
        frames = output.frames()
        is_sayable = (targets.needed_frames() <= frames.lengths) & (targets.tokens > 0)
        nll = ctc_nll(frames, targets, model.blank_id)[is_sayable].sum()
        total = nll
        if self.config.label_smoothing:
            is_frame = torch.arange(frames.log_probs.size(1), device=nll.device) < frames.lengths[:, None]
            uniform = -frames.log_probs.mean(2)[is_frame & is_sayable[:, None]].sum()
            total = (1 - self.config.label_smoothing) * nll + self.config.label_smoothing * uniform
        logs |= {"nll": nll.detach(), "too_long": targets.tokens[~is_sayable].sum()}
        return Loss(total, targets.tokens.sum().to(total), {name: value.to(total) for name, value in logs.items()})


@dataclass(frozen=True)
class Targets:
    """What is to be said, without the ends of sentences."""

    ids: Tensor
    """(B, T) int64; what stands behind the end of a target is not read."""
    lengths: Tensor
    """(B,) int64"""
    tokens: Tensor
    """(B,) int64: the end of sentence counted, 0 where there is no target."""

    @classmethod
    def of(cls, tgt_out: Tensor) -> "Targets":
        """Take the ends away: tgt_out (B, T + 1), IGNORE behind them."""
        tokens = (tgt_out != IGNORE).sum(1)
        return cls(tgt_out[:, :-1].clamp_min(0), (tokens - 1).clamp_min(0), tokens)

    def needed_frames(self) -> Tensor:
        """Count the symbols, and the blanks between those that are alike: (B,)."""
        pairs = torch.arange(1, self.ids.size(1), device=self.ids.device) < self.lengths[:, None]
        return self.lengths + ((self.ids[:, 1:] == self.ids[:, :-1]) & pairs).sum(1)


def ctc_nll(frames: Frames, targets: Targets, blank_id: int) -> Tensor:
    """Give what each target costs in nats: (B,), 0 where frames are too few.

    The gradient of torch's kernel holds for log-probabilities that come from a softmax over all ids.
    """
    by_frame = frames.log_probs.transpose(0, 1)
    return F.ctc_loss(
        by_frame, targets.ids, frames.lengths, targets.lengths, blank_id, reduction="none", zero_infinity=True
    )


def glancing_share(config: CtcConfig, step: int) -> float:
    """Give the share of the wrong frames that are shown after so many steps."""
    done = min(1.0, step / config.decay_steps)
    return config.glancing + (min(config.least_glancing, config.glancing) - config.glancing) * done


@torch.no_grad()
def glanced(
    model: FrameModel, batch: Batch, targets: Targets, share: float, generator: torch.Generator | None
) -> Tensor:
    """Choose frames at random and give what the likeliest path to the target says there: (B, F), IGNORE elsewhere.

    They are `share` times as many as the frames in which the likeliest path of a first pass says something else.
    """
    frames = model(batch).frames()
    scores, paths = alignments(frames, targets.ids, targets.lengths, model.blank_id)
    is_frame = torch.arange(paths.size(1), device=paths.device) < frames.lengths[:, None]
    is_wrong = (frames.log_probs.argmax(2) != paths) & is_frame & scores.isfinite()[:, None]
    count = (share * is_wrong.sum(1)).round()
    drawn = torch.rand(paths.shape, generator=generator, device=paths.device).masked_fill(~is_frame, 2.0)
    is_shown = drawn.argsort(1).argsort(1) < count[:, None]
    return paths.masked_fill(~is_shown, IGNORE)
