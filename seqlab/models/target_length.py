"""How many symbols a target has, told from its source.

Lengths count the symbols of a target, eos not counted, of which there is at least one.

Shapes: B batch, D d_model, K lengths, L classes.
"""

import torch
from torch import Tensor, nn

from seqlab.models.interfaces import NEG_INF, TargetLengths
from seqlab.nn.layers import Linear

EVERYTHING = 40.0
"""Deviations that nothing is below, beside what is below the one they are taken from."""
FIRST_LOG_WIDTH = -1.5
"""About what sentences of two languages have."""


class LengthClassifier(nn.Module):
    """A distribution over how much longer a target is than its source (Gu et al. 2018; Ghazvininejad et al. 2019)."""

    def __init__(self, d_model: int, most: int) -> None:
        """Tell differences of up to `most` symbols apart; larger ones count as that."""
        super().__init__()
        self.most = most
        self.project = Linear(d_model, 2 * most + 1)

    def nll(self, end: Tensor, src_lengths: Tensor, tgt_lengths: Tensor) -> Tensor:
        """end (B, D), lengths of sources with and of targets without eos (B,) -> nats (B,)."""
        difference = (tgt_lengths - (src_lengths - 1)).clamp(-self.most, self.most)
        return -self._log_probs(end, src_lengths).gather(1, (difference + self.most)[:, None])[:, 0]

    def likely(self, end: Tensor, src_lengths: Tensor, count: int, shortest: Tensor, longest: Tensor) -> TargetLengths:
        """Give the likeliest lengths within the limits (B,); where no class is, the limit that is next to them."""
        log_probs, lengths = self._log_probs(end, src_lengths), self._lengths(src_lengths)
        within = lengths.clamp(shortest[:, None], longest[:, None])
        distance = (lengths - within).abs()
        is_allowed = distance == distance.amin(1, keepdim=True)
        best = log_probs.masked_fill(~is_allowed, NEG_INF).topk(min(count, lengths.size(1)), dim=1)
        return TargetLengths(within.gather(1, best.indices), best.values)

    def _lengths(self, src_lengths: Tensor) -> Tensor:
        """Give the length that each class stands for: (B, L)."""
        return src_lengths[:, None] - 1 + torch.arange(-self.most, self.most + 1, device=src_lengths.device)

    def _log_probs(self, end: Tensor, src_lengths: Tensor) -> Tensor:
        """(B, L), of lengths of at least 1."""
        logits = self.project(end).float().masked_fill(self._lengths(src_lengths) < 1, NEG_INF)
        return logits.log_softmax(1)


class LengthRatio(nn.Module):
    """A log-normal distribution of the ratio of targets to their sources, which is learnt: one for all, in whole steps.

    The probability of a length is that of the ratios, eos counted on both sides, from half a symbol below it to half a
    symbol above it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_ratio = nn.Parameter(torch.zeros(1))
        self.log_width = nn.Parameter(torch.full((1,), FIRST_LOG_WIDTH))

    def nll(self, end: Tensor, src_lengths: Tensor, tgt_lengths: Tensor) -> Tensor:
        """Lengths of sources with and of targets without eos (B,) -> nats (B,); `end` is not looked at.

        The share between two deviations, a < b, is that between -b and -a: the one that is further below the mean is
        taken, where the logarithm of what is below each does not vanish.
        """
        a, b = self._deviation(tgt_lengths + 0.5, src_lengths), self._deviation(tgt_lengths + 1.5, src_lengths)
        a = torch.where(tgt_lengths == 1, b - EVERYTHING, a)
        a, b = torch.where(a + b > 0, -b, a), torch.where(a + b > 0, -a, b)
        below_a, below_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
        return -(below_b + torch.log1p(-(below_a - below_b).clamp_max(-1e-6).exp()))

    def _deviation(self, length: Tensor, src_lengths: Tensor) -> Tensor:
        return (length.log() - src_lengths.log() - self.log_ratio) * (-self.log_width).exp()

    def likely(self, end: Tensor, src_lengths: Tensor, count: int, shortest: Tensor, longest: Tensor) -> TargetLengths:
        """Give the likeliest lengths within the limits (B,): they are around the mode, below the median ratio."""
        mode = src_lengths * (self.log_ratio - (2 * self.log_width).exp()).exp()
        middle = (mode.round().long() - 1).clamp(shortest, longest)
        lengths = middle[:, None] + torch.arange(-count - 1, count + 2, device=middle.device)
        is_outside = (lengths < shortest[:, None]) | (lengths > longest[:, None])
        nll = self.nll(end, src_lengths[:, None], lengths.clamp_min(1))
        best = (-nll).masked_fill(is_outside, NEG_INF).topk(count, dim=1)
        return TargetLengths(lengths.gather(1, best.indices), best.values)
