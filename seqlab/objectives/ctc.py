"""CTC loss: negative log-probability of a target over all of its alignments with the frames (Graves et al. 2006).

With glancing (Qian et al. 2021, arXiv:2008.07905), the decoder observes parts of the most probable alignment, in
proportion to the errors of a first pass. The loss covers all frames, because alignments do.

An alignment of a target contains only its tokens and blanks. So the loss needs few columns per sentence: the blank,
each distinct token, and one for all other ids.
"""

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, TokenBatch
from seqlab.models.outputs import FrameLogProbs, FrameOutput
from seqlab.objectives.glancing import GlancingConfig, choose_shown, glancing_share
from seqlab.objectives.loss import SETTINGS, Loss, StepContext
from seqlab.search.ctc import viterbi_alignments
from seqlab.search.protocols import FrameModel

BLANK = 0
"""Column of the blank."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CtcConfig(GlancingConfig):
    """CTC: the probability of a target over all of its alignments with the model's frames (Graves et al. 2006)."""

    family: Literal["ctc"] = "ctc"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight of the mean negative log-probability over the vocabulary in each frame; that of CTC is 1 minus this."""

    outputs: ClassVar[str] = "frames"
    tasks: ClassVar[tuple[str, ...]] = ("translation", "transcription")
    needs: ClassVar[tuple[type, ...]] = (FrameModel,)

    def check(self, config: Any) -> None:
        """Raise ValueError if glancing is used, but the model has no decoder."""
        super().check(config)
        if self.glancing and "glancing" not in config.model.abilities:
            raise ValueError(
                f"`objective.glancing` needs a decoder, but `model.family: {config.model.family}` has none: set it to "
                "0."
            )

    def build(self) -> "Ctc":
        """Build the objective."""
        return Ctc(self)


class Ctc:
    """Sum of the negative log-probabilities of targets."""

    def __init__(self, config: CtcConfig) -> None:
        self.config = config

    def __call__(self, model: FrameModel, batch: TokenBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: tokens of targets that have enough frames, including eos, although frames do not predict it. Logs: `nll`;
        `too_long`, tokens of targets with too few frames, which are left out of the loss; with glancing `shown`, the
        number of frames that the decoder observes.
        """
        assert batch.tgt_out is not None, "CTC needs a target"
        targets = CtcTargets.of(batch.tgt_out, model.blank_id)

        def glance(output: FrameOutput) -> Tensor:
            path, is_wrong = _find_errors(output, targets)
            return choose_shown(path, is_wrong, output.padding, share, context.generator)

        share = glancing_share(self.config, context.step)
        output = model(batch, glance) if share else model(batch)
        log_probs, means = output.selected_log_probs(targets.ids)
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


def _find_errors(output: FrameOutput, targets: "CtcTargets") -> tuple[Tensor, Tensor]:
    """Return the most probable alignment of each target, and a mask of the frames where another id is more probable.

    Both are (B, F). Logits suffice, because all log-probabilities of a frame differ from them by the same amount.
    """
    logits, largest = output.selected_logits(targets.ids)
    scores, columns = viterbi_alignments(FrameLogProbs(logits, output.lengths), targets.columns, targets.lengths, BLANK)
    path_logits = logits.gather(2, columns[..., None])[..., 0]
    return targets.ids.gather(1, columns), (path_logits < largest) & scores.isfinite()[:, None]


@dataclasses.dataclass(frozen=True)
class CtcTargets:
    """Targets without eos, as columns of their distinct ids."""

    ids: Tensor
    """(B, 1 + T) int64: the id of each column: the blank, then the tokens; IGNORE in place of repeated tokens."""
    columns: Tensor
    """(B, T) int64: the column of each token; values at padding are not used."""
    lengths: Tensor
    """(B,) int64: number of tokens without eos."""
    tokens: Tensor
    """(B,) int64: number of tokens with eos; 0 without a target."""

    @classmethod
    def of(cls, tgt_out: Tensor, blank_id: int) -> "CtcTargets":
        """Remove eos from tgt_out (B, T + 1), which has IGNORE at padding."""
        tgt_out = F.pad(tgt_out, (0, max(0, 2 - tgt_out.size(1))), value=IGNORE)  # room for at least one token
        tokens = (tgt_out != IGNORE).sum(1)
        lengths = (tokens - 1).clamp_min(0)
        positions = torch.arange(tgt_out.size(1) - 1, device=tgt_out.device)
        labels = tgt_out[:, :-1].where(positions < lengths[:, None], IGNORE)
        # (B, T): the position of the first occurrence of each token
        first = (labels[:, :, None] == labels[:, None]).int().argmax(2)
        ids = F.pad(labels.where(first == positions, IGNORE), (1, 0), value=blank_id)
        return cls(ids, first + 1, lengths, tokens)

    def needed_frames(self) -> Tensor:
        """Return the minimum number of frames (B,): one per token, and one per blank between equal neighbors."""
        is_pair = torch.arange(1, self.columns.size(1), device=self.columns.device) < self.lengths[:, None]
        return self.lengths + ((self.columns[:, 1:] == self.columns[:, :-1]) & is_pair).sum(1)
