"""CTC: the probability of a target is that of all paths through the frames that say it (Graves et al. 2006).

With glancing (Qian et al. 2021, arXiv:2008.07905) the decoder is shown parts of the likeliest of these paths, the more
of them the more frames a first pass gets wrong; the loss is that of all frames, as its paths go through all.

Paths that say a target have its symbols and blanks only, so that no other id is looked at but for all of them together:
the columns of a sentence are blank, its symbols, each once, and the rest.
"""

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from seqlab.data.batch import IGNORE, TokenBatch
from seqlab.models.interfaces import FrameLogProbs, FrameModel, FrameOutput
from seqlab.objectives.glancing import GlancingConfig, choose_shown, glancing_share
from seqlab.objectives.loss import SETTINGS, Loss, StepContext
from seqlab.search.ctc import viterbi_alignments

BLANK = 0
"""The column of blanks."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CtcConfig(GlancingConfig):
    """The probability of all paths through a model's frames that say the target (Graves et al. 2006)."""

    family: Literal["ctc"] = "ctc"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the loss that is what all ids of the vocabulary cost in the mean, in each frame."""

    outputs: ClassVar[str] = "frames"
    tasks: ClassVar[tuple[str, ...]] = ("translation", "transcription")
    needs: ClassVar[tuple[type, ...]] = (FrameModel,)

    def check(self, config: Any) -> None:
        """Raise ValueError where parts of the target are to be shown to a model without a decoder."""
        super().check(config)
        if self.glancing and not config.model.can_glance:
            raise ValueError(
                f"`objective.glancing` shows a decoder parts of the target, but `model.family: {config.model.family}` "
                "has no decoder: leave it 0."
            )

    def build(self) -> "Ctc":
        """Build the objective."""
        return Ctc(self)


class Ctc:
    """Sum the negative log-probabilities of the targets."""

    def __init__(self, config: CtcConfig) -> None:
        self.config = config

    def __call__(self, model: FrameModel, batch: TokenBatch, context: StepContext) -> Loss:
        """Unit: tokens of targets that can be said, the end of sentence counted, which the frames have no token for.

        Logs: `nll`; `too_long`, tokens of the targets for which there are too few frames, which teach nothing; with
        glancing `shown`, the frames that were shown.
        """
        assert batch.tgt_out is not None, "CTC needs a target"
        targets = Targets.of(batch.tgt_out, model.blank_id)

        def glance(output: FrameOutput) -> Tensor:
            path, is_wrong = _mistakes(output, targets)
            return choose_shown(path, is_wrong, output.padding, share, context.generator)

        share = glancing_share(self.config, context.step)
        output = model(batch, glance) if share else model(batch)
        log_probs, means = output.selected(targets.ids)
        is_feasible = (targets.needed_frames() <= output.lengths) & (targets.tokens > 0)
        by_frame = FrameLogProbs(log_probs, output.lengths)
        nll = by_frame.nll(targets.columns, targets.lengths, is_feasible, BLANK).sum()
        total = nll
        if self.config.label_smoothing:
            uniform = -means.where(~output.padding & is_feasible[:, None], 0.0).sum()
            total = (1 - self.config.label_smoothing) * nll + self.config.label_smoothing * uniform
        logs = {"nll": nll.detach(), "too_long": targets.tokens[~is_feasible].sum()}
        if self.config.glancing:
            logs["shown"] = output.is_shown.sum()
        count = targets.tokens[is_feasible].sum()
        return Loss(total, count.to(total), {name: value.to(total) for name, value in logs.items()})


def _mistakes(output: FrameOutput, targets: "Targets") -> tuple[Tensor, Tensor]:
    """Give the likeliest path that says each target, and where another id is likelier than its own: (B, F).

    Logits are enough: what log-probabilities subtract is the same for all ids of a frame.
    """
    logits, largest = output.selected_logits(targets.ids)
    scores, columns = viterbi_alignments(FrameLogProbs(logits, output.lengths), targets.columns, targets.lengths, BLANK)
    of_path = logits.gather(2, columns[..., None])[..., 0]
    return targets.ids.gather(1, columns), (of_path < largest) & scores.isfinite()[:, None]


@dataclasses.dataclass(frozen=True)
class Targets:
    """What is to be said, without the ends of sentences."""

    ids: Tensor
    """(B, 1 + T) int64: the id of each column: blank, then the symbols; IGNORE where one stands further before."""
    columns: Tensor
    """(B, T) int64: the column of each symbol; what stands behind the end of a target is not read."""
    lengths: Tensor
    """(B,) int64"""
    tokens: Tensor
    """(B,) int64: the end of sentence counted, 0 where there is no target."""

    @classmethod
    def of(cls, tgt_out: Tensor, blank_id: int) -> "Targets":
        """Take the ends away: tgt_out (B, T + 1), IGNORE behind them."""
        tgt_out = F.pad(tgt_out, (0, max(0, 2 - tgt_out.size(1))), value=IGNORE)  # one symbol, where all are empty
        tokens = (tgt_out != IGNORE).sum(1)
        lengths = (tokens - 1).clamp_min(0)
        places = torch.arange(tgt_out.size(1) - 1, device=tgt_out.device)
        symbols = tgt_out[:, :-1].where(places < lengths[:, None], IGNORE)
        first = (symbols[:, :, None] == symbols[:, None]).int().argmax(2)  # (B, T): where each stands first
        ids = F.pad(symbols.where(first == places, IGNORE), (1, 0), value=blank_id)
        return cls(ids, first + 1, lengths, tokens)

    def needed_frames(self) -> Tensor:
        """Count the symbols, and the blanks between those that are alike: (B,)."""
        is_pair = torch.arange(1, self.columns.size(1), device=self.columns.device) < self.lengths[:, None]
        return self.lengths + ((self.columns[:, 1:] == self.columns[:, :-1]) & is_pair).sum(1)
