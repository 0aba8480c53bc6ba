"""Prediction of target lengths from the source, for non-autoregressive decoding.

Target lengths exclude eos and are at least 1; source lengths include eos.

Shapes: B batch, D d_model, K candidate lengths, L classes.
"""

import torch
from torch import Tensor, nn

from seqlab.models.outputs import NEG_INF, TargetLengths
from seqlab.nn.layers import Linear

TAIL_STANDARD_DEVIATIONS = 40.0
"""Distance below a z-score at which the remaining mass of the normal distribution is negligible."""
INITIAL_LOG_WIDTH = -1.5
"""Initial logarithm of the standard deviation of log ratios: a typical value for a pair of languages."""


class LengthClassifier(nn.Module):
    """Classifier of the difference of target and source length (Gu et al. 2018; Ghazvininejad et al. 2019)."""

    def __init__(self, d_model: int, max_difference: int) -> None:
        """Build the classifier of differences up to `max_difference` tokens; larger ones are clipped to it."""
        super().__init__()
        self.max_difference = max_difference
        self.project = Linear(d_model, 2 * max_difference + 1)

    def nll(self, end: Tensor, src_lengths: Tensor, tgt_lengths: Tensor) -> Tensor:
        """Compute the nll in nats (B,) of target lengths: `end` (B, D) is the encoder's hidden state at eos."""
        difference = (tgt_lengths - (src_lengths - 1)).clamp(-self.max_difference, self.max_difference)
        return -self._log_probs(end, src_lengths).gather(1, (difference + self.max_difference)[:, None])[:, 0]

    def most_probable(
        self, end: Tensor, src_lengths: Tensor, count: int, shortest: Tensor, longest: Tensor
    ) -> TargetLengths:
        """Return the `count` most probable lengths within the bounds (B,); if no class is within, the nearest bound."""
        log_probs, lengths = self._log_probs(end, src_lengths), self._lengths(src_lengths)
        within = lengths.clamp(shortest[:, None], longest[:, None])
        distance = (lengths - within).abs()
        is_allowed = distance == distance.amin(1, keepdim=True)
        best = log_probs.masked_fill(~is_allowed, NEG_INF).topk(min(count, lengths.size(1)), dim=1)
        return TargetLengths(within.gather(1, best.indices), best.values)

    def _lengths(self, src_lengths: Tensor) -> Tensor:
        """Return the target length of each class: (B, L)."""
        differences = torch.arange(-self.max_difference, self.max_difference + 1, device=src_lengths.device)
        return src_lengths[:, None] - 1 + differences

    def _log_probs(self, end: Tensor, src_lengths: Tensor) -> Tensor:
        """Compute the log-probabilities (B, L) of the classes; -inf for lengths below 1."""
        logits = self.project(end).float().masked_fill(self._lengths(src_lengths) < 1, NEG_INF)
        return logits.log_softmax(1)


class LengthRatio(nn.Module):
    """Discretized log-normal distribution of the ratio of target to source length, with two learned parameters.

    The probability of a length is the mass of the ratios, with eos counted in both lengths, from half a token below the
    length to half a token above it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_ratio = nn.Parameter(torch.zeros(1))
        self.log_width = nn.Parameter(torch.full((1,), INITIAL_LOG_WIDTH))

    def nll(self, end: Tensor, src_lengths: Tensor, tgt_lengths: Tensor) -> Tensor:
        """Compute the nll in nats (B,) of target lengths; `end` is unused.

        The mass between two z-scores a < b equals that between -b and -a. The pair that is further below the mean is
        used, because the logarithm of the cumulative distribution is accurate there.
        """
        a, b = self._z_score(tgt_lengths + 0.5, src_lengths), self._z_score(tgt_lengths + 1.5, src_lengths)
        a = torch.where(tgt_lengths == 1, b - TAIL_STANDARD_DEVIATIONS, a)
        a, b = torch.where(a + b > 0, -b, a), torch.where(a + b > 0, -a, b)
        below_a, below_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
        return -(below_b + torch.log1p(-(below_a - below_b).clamp_max(-1e-6).exp()))

    def _z_score(self, length: Tensor, src_lengths: Tensor) -> Tensor:
        return (length.log() - src_lengths.log() - self.log_ratio) * (-self.log_width).exp()

    def most_probable(
        self, end: Tensor, src_lengths: Tensor, count: int, shortest: Tensor, longest: Tensor
    ) -> TargetLengths:
        """Return the `count` most probable lengths within the bounds (B,), which are around the mode."""
        mode = src_lengths * (self.log_ratio - (2 * self.log_width).exp()).exp()
        center = (mode.round().long() - 1).clamp(shortest, longest)
        lengths = center[:, None] + torch.arange(-count - 1, count + 2, device=center.device)
        is_outside = (lengths < shortest[:, None]) | (lengths > longest[:, None])
        nll = self.nll(end, src_lengths[:, None], lengths.clamp_min(1))
        best = (-nll).masked_fill(is_outside, NEG_INF).topk(count, dim=1)
        return TargetLengths(lengths.gather(1, best.indices), best.values)
