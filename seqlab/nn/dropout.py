"""Dropout whose random numbers cost little on the CPU.

torch's own draws one Bernoulli number at a time, in one thread (4.3 ns per element); here each element gets one random
byte (0.3 ns). The probability is therefore a multiple of 1/256 on the CPU, and the scale is that of the true share.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def refuse_too_small(p: float) -> float:
    """Return p; raises ValueError where it is above 0, but so small that the CPU drops nothing."""
    if p > 0 and round(p * 256) == 0:
        raise ValueError(
            f"{p} drops nothing on the CPU, where dropout is rounded to a multiple of 1/256: the nearest values that "
            f"work are 0 and {1 / 256}."
        )
    return p


def random_bytes(shape: torch.Size) -> Tensor:
    """Draw a byte for each element, from torch's default generator of the CPU.

    Activation checkpointing restores the state of that one, and so draws the same mask again.
    """
    count = shape.numel()
    words = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.uint8)[:count].view(shape)


def scaled_keep_mask(drawn: Tensor, p: float, dtype: torch.dtype) -> Tensor:
    """Turn random bytes into a mask: 1 / (1 - p) where an element stays and 0 elsewhere, p to the nearest 1/256."""
    threshold = min(255, round(p * 256))
    # Comparing straight into a float tensor avoids the slow conversion from bool.
    keep = torch.ge(drawn, threshold, out=torch.empty(drawn.shape, dtype=dtype))
    return keep.mul_(256 / (256 - threshold))


def keep_mask_for(x: Tensor, p: float) -> Tensor:
    """Draw a mask for the elements of x: 1 / (1 - p) where one stays and 0 elsewhere."""
    if x.device.type != "cpu":
        return F.dropout(torch.ones_like(x), p)
    return scaled_keep_mask(random_bytes(x.shape), p, x.dtype)


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero elements of x with probability p and scale the rest so that the expectation stays."""
    if x.device.type != "cpu":
        return F.dropout(x, p)
    return x * keep_mask_for(x, p)


class _DropoutAdd(torch.autograd.Function):
    """x + branch * keep in one pass, in x's dtype; the branch's gradient comes out in its own.

    The bytes are kept for the backward pass, as the mask would take four times the memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, p: float) -> Tensor:
        drawn = random_bytes(branch.shape)
        ctx.save_for_backward(drawn)
        ctx.p, ctx.branch_dtype = p, branch.dtype
        return torch.addcmul(x, branch.to(x.dtype), scaled_keep_mask(drawn, p, x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (drawn,) = ctx.saved_tensors
        keep = scaled_keep_mask(drawn, ctx.p, grads[0].dtype)
        return grads[0], keep.mul_(grads[0]).to(ctx.branch_dtype), None


def dropout_add(x: Tensor, branch: Tensor, p: float) -> Tensor:
    """Compute x + dropout(branch) for two tensors of one shape: the end of a residual branch."""
    if p == 0:
        return x + branch
    if x.device.type != "cpu":
        return x + F.dropout(branch, p)
    added: Tensor = _DropoutAdd.apply(x, branch, p)
    return added


class Dropout(nn.Module):
    """`torch.nn.Dropout` through `dropout`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"`p` must be in [0, 1), but is {p} instead.")
        self.p = refuse_too_small(p)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape; the identity in evaluation mode and for p = 0."""
        return dropout(x, self.p) if self.training and self.p > 0 else x

    def extra_repr(self) -> str:
        return f"p={self.p}"
