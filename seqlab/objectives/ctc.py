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
from seqlab.models.interfaces import FrameModel, FrameOutput, Frames
from seqlab.nn.cpu.first_order import first_order
from seqlab.nn.kernels import is_reference
from seqlab.objectives.glancing import GlancingConfig, glancing_share, shown_part
from seqlab.objectives.loss import SETTINGS, Loss, StepContext
from seqlab.search.ctc import alignments

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
    needs: ClassVar[tuple[type, ...]] = (FrameModel,)

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
            return shown_part(path, is_wrong, output.padding, share, context.generator)

        share = glancing_share(self.config, context.step)
        output = model(batch, glance) if share else model(batch)
        log_probs, means = output.selected(targets.ids)
        is_sayable = (targets.needed_frames() <= output.lengths) & (targets.tokens > 0)
        nll = ctc_nll(Frames(log_probs, output.lengths), targets, is_sayable).sum()
        total = nll
        if self.config.label_smoothing:
            uniform = -means.where(~output.padding & is_sayable[:, None], 0.0).sum()
            total = (1 - self.config.label_smoothing) * nll + self.config.label_smoothing * uniform
        logs = {"nll": nll.detach(), "too_long": targets.tokens[~is_sayable].sum()}
        if self.config.glancing:
            logs["shown"] = output.is_shown.sum()
        count = targets.tokens[is_sayable].sum()
        return Loss(total, count.to(total), {name: value.to(total) for name, value in logs.items()})


def _mistakes(output: FrameOutput, targets: "Targets") -> tuple[Tensor, Tensor]:
    """Give the likeliest path that says each target, and where another id is likelier than its own: (B, F).

    Logits are enough: what log-probabilities subtract is the same for all ids of a frame.
    """
    logits, largest = output.selected_logits(targets.ids)
    scores, columns = alignments(Frames(logits, output.lengths), targets.columns, targets.lengths, BLANK)
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


def ctc_nll(frames: Frames, targets: Targets, is_sayable: Tensor) -> Tensor:
    """Give what each target costs in nats (B,), 0 where it is not sayable; the frames have its columns."""
    if is_reference("cross_entropy"):
        return _nll_by_definition(frames, targets, is_sayable)
    nll: Tensor = _CtcNll.apply(frames.log_probs, frames.lengths, targets, is_sayable)
    return nll


IMPOSSIBLE = -1e9
"""The log-probability of no path: finite, as the gradient of a sum of none would be nan."""


def _nll_by_definition(frames: Frames, targets: Targets, is_sayable: Tensor) -> Tensor:
    """Sum over all paths, forwards in time, in plain PyTorch (Graves et al. 2006, section 4.1)."""
    num_symbols = targets.columns.size(1)
    columns = torch.full((len(targets.columns), 2 * num_symbols + 1), BLANK, device=targets.columns.device)
    columns[:, 1::2] = targets.columns  # blank, symbol, blank, ... : (B, S)
    may_skip = F.pad(columns[:, 2:] != columns[:, :-2], (2, 0)) & (columns != BLANK)
    log_probs = frames.log_probs.clamp_min(IMPOSSIBLE)
    by_frame = log_probs.gather(2, columns[:, None].expand(-1, log_probs.size(1), -1))  # (B, F, S)
    begins = torch.arange(columns.size(1), device=columns.device) < 2
    paths = by_frame[:, 0].where(begins, IMPOSSIBLE)
    for frame in range(1, by_frame.size(1)):
        one_before = F.pad(paths, (1, 0), value=IMPOSSIBLE)[:, :-1]
        two_before = F.pad(paths, (2, 0), value=IMPOSSIBLE)[:, :-2].where(may_skip, IMPOSSIBLE)
        longer = torch.logsumexp(torch.stack((paths, one_before, two_before)), dim=0) + by_frame[:, frame]
        paths = longer.where((frame < frames.lengths)[:, None], paths)
    ends = torch.stack((2 * targets.lengths, (2 * targets.lengths - 1).clamp_min(0)), dim=1)
    last = paths.gather(1, ends)
    is_empty = (targets.lengths == 0)[:, None] & torch.tensor([False, True], device=ends.device)
    return -torch.logsumexp(last.masked_fill(is_empty, IMPOSSIBLE), dim=1).where(is_sayable, 0.0)


class _CtcNll(torch.autograd.Function):
    """torch's kernel, on each sentence's own columns.

    The gradient that the kernel gives holds for log-probabilities that come from a softmax over all of its columns, so
    that it is given the rest of the ids as one more: it is then p - q, where q is how much of each frame the paths of
    the target spend on a column, and the gradient of the log-probabilities themselves is -q.
    """

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, lengths: Tensor, targets: Targets, is_sayable: Tensor) -> Tensor:
        rest = torch.log1p(-log_probs.exp().sum(2, keepdim=True).clamp_max(1 - 1e-6))
        whole = torch.cat((log_probs, rest), 2).detach()
        with torch.enable_grad():
            whole.requires_grad_()
            by_frame = whole.transpose(0, 1)
            nll = F.ctc_loss(
                by_frame, targets.columns, lengths, targets.lengths, BLANK, reduction="none", zero_infinity=True
            )
            (gradient,) = torch.autograd.grad(nll.sum(), whole)
        spent = (whole.detach().exp() - gradient)[:, :, :-1]
        ctx.save_for_backward(spent * (~Frames(log_probs, lengths).padding & is_sayable[:, None])[..., None])
        return nll.detach() * is_sayable

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (spent,) = ctx.saved_tensors
        return -spent * grads[0][:, None, None], None, None, None
