"""Elementwise functions for the CPU: batch-invariant sigmoid, SiLU and log-add, and fast dropout.

The first three are for inference in fp32. torch's own kernels round the last elements of a tensor, which do not fill a
vector register, differently from the others.

Dropout draws one random byte per element (0.3 ns). torch draws one Bernoulli number per element in a single thread
(4.3 ns). With bytes, the probability is rounded to a multiple of 1/256; the scale is that of the rounded probability.
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
    """Compute log(exp(a) + exp(b)), like `torch.logaddexp`."""
    return torch.stack((a, b)).logsumexp(0)


def random_bytes(shape: torch.Size) -> Tensor:
    """Draw a random byte for each element from torch's default CPU generator.

    Activation checkpointing restores the state of this generator, so that it draws the same mask again.
    """
    count = shape.numel()
    words = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.uint8)[:count].view(shape)


def scaled_keep_mask(drawn: Tensor, p: float, dtype: torch.dtype) -> Tensor:
    """Make a dropout mask from random bytes: 0 or 1 / (1 - p), with p rounded to a multiple of 1/256."""
    threshold = min(255, round(p * 256))
    # A comparison into a float tensor avoids the slow conversion from bool.
    keep = torch.ge(drawn, threshold, out=torch.empty(drawn.shape, dtype=dtype))
    return keep.mul_(256 / (256 - threshold))


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero elements of x with probability p and scale the others by 1 / (1 - p)."""
    return x * scaled_keep_mask(random_bytes(x.shape), p, x.dtype)
