"""Functions of elements none of which depends, in its last bit, on its position in a batch; for inference in fp32.

torch's own kernels round differently in the elements that are left over when they have filled their vectors.
"""

import torch
from torch import Tensor


def sigmoid(x: Tensor) -> Tensor:
    """Compute 1 / (1 + exp(-x))."""
    return x.neg().exp_().add_(1).reciprocal_()


def silu(x: Tensor) -> Tensor:
    """Compute x * sigmoid(x)."""
    return x / (1 + torch.exp(-x))


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """Compute log(exp(a) + exp(b)), as `torch.logaddexp` does."""
    return torch.stack((a, b)).logsumexp(0)


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
