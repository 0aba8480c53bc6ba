"""CTC loss from the log-probabilities of each target's own tokens, instead of the full vocabulary.

Shapes: B sentences, F frames, C columns, T tokens of a target, S = 2T + 1 states (tokens, and the blanks around them).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.cpu.autograd import refuse_second_derivative
from seqlab.nn.kernels import is_reference
from seqlab.nn.masks import padding_mask

NO_PATH = -1e9
"""Log-probability of an impossible path; finite, because -inf would give NaN gradients."""


def ctc_nll(
    log_probs: Tensor, lengths: Tensor, columns: Tensor, target_lengths: Tensor, is_feasible: Tensor, blank: int
) -> Tensor:
    """Compute the CTC negative log-likelihood of each target (Graves et al. 2006).

    Args:
        log_probs: (B, F, C), in nats; the columns are the ids that each sentence needs, not the vocabulary.
        lengths: (B,), frames.
        columns: (B, T), the column of each target token; ignored at positions >= `target_lengths`.
        target_lengths: (B,), tokens.
        is_feasible: (B,) bool, whether there are enough frames for the target.
        blank: the column of the blank.

    Returns:
        (B,), in nats; 0 for targets that are not feasible.
    """
    if is_reference("cross_entropy"):
        return _reference_ctc_nll(log_probs, lengths, columns, target_lengths, is_feasible, blank)
    nll: Tensor = _CtcNll.apply(log_probs, lengths, columns, target_lengths, is_feasible, blank)
    return nll


def _reference_ctc_nll(
    log_probs: Tensor, lengths: Tensor, columns: Tensor, target_lengths: Tensor, is_feasible: Tensor, blank: int
) -> Tensor:
    """Run the forward algorithm in plain PyTorch (Graves et al. 2006, section 4.1)."""
    states = torch.full((len(columns), 2 * columns.size(1) + 1), blank, device=columns.device)
    states[:, 1::2] = columns  # (B, S): blank, token, blank, ...
    can_skip = F.pad(states[:, 2:] != states[:, :-2], (2, 0)) & (states != blank)
    by_frame = log_probs.clamp_min(NO_PATH).gather(2, states[:, None].expand(-1, log_probs.size(1), -1))  # (B, F, S)
    is_start = torch.arange(states.size(1), device=states.device) < 2
    paths = by_frame[:, 0].where(is_start, NO_PATH)
    for frame in range(1, by_frame.size(1)):
        one_before = F.pad(paths, (1, 0), value=NO_PATH)[:, :-1]
        two_before = F.pad(paths, (2, 0), value=NO_PATH)[:, :-2].where(can_skip, NO_PATH)
        longer = torch.logsumexp(torch.stack((paths, one_before, two_before)), dim=0) + by_frame[:, frame]
        paths = longer.where((frame < lengths)[:, None], paths)
    ends = torch.stack((2 * target_lengths, (2 * target_lengths - 1).clamp_min(0)), dim=1)
    is_empty = (target_lengths == 0)[:, None] & torch.tensor([False, True], device=ends.device)
    last = paths.gather(1, ends).masked_fill(is_empty, NO_PATH)
    return -torch.logsumexp(last, dim=1).where(is_feasible, 0.0)


class _CtcNll(torch.autograd.Function):
    """torch's CTC kernel on the columns of each sentence, with a gradient for columns that do not sum to 1.

    The kernel's gradient is that of the logits of a softmax over the columns, so the probability of all other ids is
    appended as one more column. The kernel's gradient is then p - q, where q is the expected occupancy of a column in
    each frame. The gradient with respect to the log-probabilities is -q.
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
        normalized = torch.cat((log_probs, rest), 2).detach()
        with torch.enable_grad():
            normalized.requires_grad_()
            by_frame = normalized.transpose(0, 1)
            nll = F.ctc_loss(by_frame, columns, lengths, target_lengths, blank, reduction="none", zero_infinity=True)
            (gradient,) = torch.autograd.grad(nll.sum(), normalized)
        occupancy = (normalized.detach().exp() - gradient)[:, :, :-1]
        is_used = ~padding_mask(lengths, log_probs.size(1)) & is_feasible[:, None]
        ctx.save_for_backward(occupancy * is_used[..., None])
        return nll.detach() * is_feasible

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (occupancy,) = ctx.saved_tensors
        return -occupancy * grads[0][:, None, None], None, None, None, None, None
