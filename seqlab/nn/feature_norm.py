"""Norms of features: of vectors (B, C), of sequences (B, C, L) and of images (B, C, H, W)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

FeatureNorm = Literal["none", "batch", "layer", "group", "rms"]
"""Each channel over the batch and all positions (Ioffe & Szegedy 2015); each position over its channels (Ba et al.
2016); channels by groups over all positions of an example (Wu & He 2018); or as `layer` without centring."""
GROUP_CHANNELS = 8
"""Channels of a group, where their number is divisible by it."""


def make_feature_norm(kind: FeatureNorm, channels: int) -> nn.Module:
    """Build a norm for features (B, C, ...)."""
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return BatchNorm(channels)
    if kind == "group":
        return nn.GroupNorm(max(1, channels // GROUP_CHANNELS) if channels % GROUP_CHANNELS == 0 else 1, channels)
    return ChannelsLast(nn.LayerNorm(channels) if kind == "layer" else nn.RMSNorm(channels, eps=1e-6))


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of features (B, C, ...).

    In training each channel is normalised by its mean and variance over the micro-step, in evaluation by their running
    means, which are buffers of the model. A micro-step of one example and one position cannot be normalised, so that it
    is left to the running means.
    """

    sum_over_ranks: Callable[[Tensor], Tensor] | None = None
    """Sums a tensor over all ranks, differentiably, where statistics are those of the micro-steps of all ranks."""
    is_idle = False
    """Whether the micro-step of this rank is there only for the exchange: it does not count."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, ...) in the same shape."""
        flat = x.flatten(2) if x.dim() > 2 else x
        if self.training and self.sum_over_ranks is not None:
            normalised = self._forward_in_ranks(flat[..., None] if flat.dim() == 2 else flat, self.sum_over_ranks)
        elif self.training and flat.numel() == flat.size(1):
            normalised = torch.nn.functional.batch_norm(
                flat, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        else:
            normalised = super().forward(flat)
        return normalised.reshape(x.shape)

    def _forward_in_ranks(self, x: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
        """Normalise x (B, C, L) by the statistics of all ranks; `nn.SyncBatchNorm` does so on a GPU alone."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        values, share = x.float(), 0.0 if self.is_idle else 1.0
        count = values.new_full((1,), share * values.numel() / values.size(1))
        *sums, count = total(torch.cat((share * values.sum((0, 2)), count))).split((values.size(1), 1))
        mean = sums[0] / count
        var = total(share * (values - mean[:, None]).square().sum((0, 2))) / count
        is_enough = count > 1  # as one position alone cannot be normalised
        with torch.no_grad():
            self.num_batches_tracked += is_enough.long().squeeze()
            rate = 1 / self.num_batches_tracked.clamp_min(1).float() if self.momentum is None else self.momentum
            rate = torch.as_tensor(rate).to(var) * is_enough
            self.running_mean.lerp_(mean, rate)
            self.running_var.lerp_(var * count / (count - 1).clamp_min(1), rate)
        mean = torch.where(is_enough, mean, self.running_mean)
        scale = self.weight * (torch.where(is_enough, var, self.running_var) + self.eps).rsqrt()
        return ((values - mean[:, None]) * scale[:, None] + self.bias[:, None]).to(x.dtype)


class ChannelsLast(nn.Module):
    """Apply a norm of the last dimension to features (B, C, ...)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, ...) in the same shape."""
        normalised: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return normalised
