"""Functions of elements none of which depends, in its last bit, on where in a batch it stands.

torch's fp32 kernels of these round differently in the elements that are left over when they have filled their vectors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def steady_sigmoid_(x: Tensor) -> Tensor:
    """Compute the sigmoid in place."""
    return x.neg_().exp_().add_(1).reciprocal_()


def steady_silu(x: Tensor) -> Tensor:
    """Compute x * sigmoid(x)."""
    return x / (1 + torch.exp(-x)) if x.dtype == torch.float32 else F.silu(x)


def steady_log_sum(a: Tensor, b: Tensor) -> Tensor:
    """Compute log(exp(a) + exp(b)), as `torch.logaddexp` does."""
    return torch.stack((a, b)).logsumexp(0)
