"""Normalization layers for vectors (B, C), sequences (B, C, L) and images (B, C, H, W)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

FeatureNorm = Literal["none", "batch", "layer", "group", "rms"]
"""`batch`: each channel over the batch and all positions (Ioffe & Szegedy 2015). `layer`: each position over its
channels (Ba et al. 2016). `group`: groups of channels over all positions of an example (Wu & He 2018). `rms`: as
`layer`, without centering (Zhang & Sennrich 2019)."""
GROUP_CHANNELS = 8
"""Channels per group, if their number is divisible by it; otherwise there is one group."""


def make_feature_norm(kind: FeatureNorm, channels: int) -> nn.Module:
    """Build a normalization layer for features (B, C, ...)."""
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return BatchNorm(channels)
    if kind == "group":
        return nn.GroupNorm(max(1, channels // GROUP_CHANNELS) if channels % GROUP_CHANNELS == 0 else 1, channels)
    return ChannelsLast(nn.LayerNorm(channels) if kind == "layer" else nn.RMSNorm(channels, eps=1e-6))


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization of features (B, C, ...).

    In training, each channel is normalized by its mean and variance over the micro-step. In evaluation, running
    averages of both are used, which are buffers of the model. They are also used in a training micro-step of a single
    example and position, which has no variance.
    """

    sum_over_ranks: Callable[[Tensor], Tensor] | None = None
    """Differentiable sum over all ranks, for statistics over the micro-steps of all ranks; None: each its own."""
    is_idle = False
    """Whether this rank's micro-step is left out of the statistics, although the rank takes part in the sums."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, ...) -> the same shape."""
        flat = x.flatten(2) if x.dim() > 2 else x
        if self.training and self.sum_over_ranks is not None:
            normalized = self._forward_in_ranks(flat[..., None] if flat.dim() == 2 else flat, self.sum_over_ranks)
        elif self.training and flat.numel() == flat.size(1):
            normalized = torch.nn.functional.batch_norm(
                flat, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        else:
            normalized = super().forward(flat)
        return normalized.reshape(x.shape)

    def _forward_in_ranks(self, x: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
        """Normalize x (B, C, L) by the statistics of all ranks; `nn.SyncBatchNorm` supports only GPUs."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        values, factor = x.float(), 0.0 if self.is_idle else 1.0
        count = values.new_full((1,), factor * values.numel() / values.size(1))
        *sums, count = total(torch.cat((factor * values.sum((0, 2)), count))).split((values.size(1), 1))
        mean = sums[0] / count
        var = total(factor * (values - mean[:, None]).square().sum((0, 2))) / count
        has_variance = count > 1  # a single position has none
        with torch.no_grad():
            self.num_batches_tracked += has_variance.long().squeeze()
            momentum = 1 / self.num_batches_tracked.clamp_min(1).float() if self.momentum is None else self.momentum
            momentum = torch.as_tensor(momentum).to(var) * has_variance
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(var * count / (count - 1).clamp_min(1), momentum)
        mean = torch.where(has_variance, mean, self.running_mean)
        scale = self.weight * (torch.where(has_variance, var, self.running_var) + self.eps).rsqrt()
        return ((values - mean[:, None]) * scale[:, None] + self.bias[:, None]).to(x.dtype)


class ChannelsLast(nn.Module):
    """Apply a norm over the last dimension to the channels of features (B, C, ...)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, ...) -> the same shape."""
        normalized: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return normalized
