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
