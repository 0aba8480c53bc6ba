"""Dropout whose random numbers cost little: one byte for each element (0.3 ns).

torch's own draws one Bernoulli number at a time, in one thread (4.3 ns per element). The probability is therefore a
multiple of 1/256, and the scale is that of the true share.
"""

import torch
from torch import Tensor


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


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero elements of x with probability p and scale the rest so that the expectation stays."""
    return x * scaled_keep_mask(random_bytes(x.shape), p, x.dtype)
