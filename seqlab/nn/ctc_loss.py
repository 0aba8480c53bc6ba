"""The CTC loss of each sentence over its own columns: of its ids alone, not of the whole vocabulary.

Shapes: B sentences, F frames, C columns, T symbols of a target, S = 2T + 1 states (a blank around each symbol).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.cpu.autograd import refuse_second_derivative
from seqlab.nn.kernels import is_reference
from seqlab.nn.masks import padding_mask

NO_PATH = -1e9
"""The log-probability of no path: finite, as the gradient of a sum of none would be nan."""


def ctc_nll(
    log_probs: Tensor, lengths: Tensor, columns: Tensor, target_lengths: Tensor, is_feasible: Tensor, blank: int
) -> Tensor:
    """Sum over all paths that say a target (Graves et al. 2006): log_probs (B, F, C), lengths (B,) -> nll (B,) in nats.

    `columns` (B, T): the column of each symbol, not read behind `target_lengths` (B,); `blank`: that of blanks. The nll
    is 0 where a target is not `is_feasible` (B,).
    """
    if is_reference("cross_entropy"):
        return _by_definition(log_probs, lengths, columns, target_lengths, is_feasible, blank)
    nll: Tensor = _CtcNll.apply(log_probs, lengths, columns, target_lengths, is_feasible, blank)
    return nll


def _by_definition(
    log_probs: Tensor, lengths: Tensor, columns: Tensor, target_lengths: Tensor, is_feasible: Tensor, blank: int
) -> Tensor:
    """Sum forwards in time, in plain PyTorch (section 4.1)."""
    states = torch.full((len(columns), 2 * columns.size(1) + 1), blank, device=columns.device)
    states[:, 1::2] = columns  # blank, symbol, blank, ... : (B, S)
    may_skip = F.pad(states[:, 2:] != states[:, :-2], (2, 0)) & (states != blank)
    by_frame = log_probs.clamp_min(NO_PATH).gather(2, states[:, None].expand(-1, log_probs.size(1), -1))  # (B, F, S)
    begins = torch.arange(states.size(1), device=states.device) < 2
    paths = by_frame[:, 0].where(begins, NO_PATH)
    for frame in range(1, by_frame.size(1)):
        one_before = F.pad(paths, (1, 0), value=NO_PATH)[:, :-1]
        two_before = F.pad(paths, (2, 0), value=NO_PATH)[:, :-2].where(may_skip, NO_PATH)
        longer = torch.logsumexp(torch.stack((paths, one_before, two_before)), dim=0) + by_frame[:, frame]
        paths = longer.where((frame < lengths)[:, None], paths)
    ends = torch.stack((2 * target_lengths, (2 * target_lengths - 1).clamp_min(0)), dim=1)
    is_empty = (target_lengths == 0)[:, None] & torch.tensor([False, True], device=ends.device)
    last = paths.gather(1, ends).masked_fill(is_empty, NO_PATH)
    return -torch.logsumexp(last, dim=1).where(is_feasible, 0.0)


class _CtcNll(torch.autograd.Function):
    """torch's kernel, on each sentence's own columns.

    The gradient that the kernel gives holds for log-probabilities that come from a softmax over all of its columns, so
    that it is given the rest of the ids as one more: it is then p - q, where q is how much of each frame the paths of
    the target spend on a column, and the gradient of the log-probabilities themselves is -q.
    """

    @staticmethod
    def forward(
        ctx: Any,
        log_probs: Tensor,
        lengths: Tensor,
        columns: Tensor,
        target_lengths: Tensor,
        is_feasible: Tensor,
        blank: int,
    ) -> Tensor:
        rest = torch.log1p(-log_probs.exp().sum(2, keepdim=True).clamp_max(1 - 1e-6))
        whole = torch.cat((log_probs, rest), 2).detach()
        with torch.enable_grad():
            whole.requires_grad_()
            by_frame = whole.transpose(0, 1)
            nll = F.ctc_loss(by_frame, columns, lengths, target_lengths, blank, reduction="none", zero_infinity=True)
            (gradient,) = torch.autograd.grad(nll.sum(), whole)
        spent = (whole.detach().exp() - gradient)[:, :, :-1]
        is_read = ~padding_mask(lengths, log_probs.size(1)) & is_feasible[:, None]
        ctx.save_for_backward(spent * is_read[..., None])
        return nll.detach() * is_feasible

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (spent,) = ctx.saved_tensors
        return -spent * grads[0][:, None, None], None, None, None, None, None
