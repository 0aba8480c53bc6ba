"""The projection onto the vocabulary, and losses that are computed on it in blocks of rows.

The logits of all tokens at once would be the largest tensor of a training step (tokens x vocabulary).

Shapes: R rows, D hidden size, V vocabulary, B sentences, F frames, k ids of a sentence.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqlab.nn import kernels
from seqlab.nn.blockwise_cross_entropy import IGNORE
from seqlab.nn.selected_log_probs import UNUSED, fill_unused

BLOCK_ROWS = 1024
CACHED_ROWS = 160


class VocabularyProjection(nn.Module):
    """Map hidden states to logits with a weight (V, D) that may be shared with an embedding."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> logits (..., V) in fp32."""
        return kernels.linear(hidden, self.weight).float()

    @torch.no_grad()
    def log_probs(self, hidden: Tensor) -> Tensor:
        """hidden (N, D) -> log-probabilities (N, V) in nats, in fp32; without a gradient.

        On a CPU in blocks of so few rows that the cache holds their logits: 6% faster, and the logits of all rows never
        exist beside the result.
        """
        if not hidden.is_cpu:
            return torch.log_softmax(kernels.linear(hidden, self.weight), dim=-1, dtype=torch.float32)
        scores = hidden.new_empty(hidden.size(0), self.weight.size(0), dtype=torch.float32)
        for rows, block in zip(hidden.split(CACHED_ROWS), scores.split(CACHED_ROWS), strict=True):
            torch.log_softmax(kernels.linear(rows, self.weight), dim=-1, dtype=torch.float32, out=block)
        return scores

    def cross_entropy(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum the smoothed loss and the plain nll over rows: hidden (R, D), targets (R,) -> two scalars in nats.

        Rows whose target is -100 count for nothing.
        Label smoothing is uniform over the vocabulary, as in torch.nn.functional.cross_entropy. The nll is detached.
        """
        return kernels.cross_entropy(hidden, self.weight, targets, label_smoothing)

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (R, D), targets (R,) -> log-probabilities of the targets and means over all ids (R,), in fp32.

        With a gradient for each of them, for losses that are no plain sum.
        """
        return _in_blocks(self._target_log_probs, hidden, targets)

    def _target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = torch.log_softmax(self(hidden), dim=-1)
        return log_probs.gather(1, targets[:, None])[:, 0], log_probs.mean(1)

    def selected_log_probs(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) -> log-probabilities (B, F, k), and means over all ids (B, F), in fp32.

        The ids of a sentence are different ones, with `UNUSED` where it has fewer than others: -inf there.
        """
        return kernels.selected_log_probs(hidden, self.weight, ids)

    @torch.no_grad()
    def selected_logits(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) as above -> logits (B, F, k), and the largest of all ids (B, F); no gradient."""
        columns = fill_unused(ids).repeat_interleave(hidden.size(1), 0)  # (B * F, k)
        selected, largest = _in_blocks(self._selected_logits, hidden.flatten(0, 1), columns)
        selected = selected.view(*hidden.shape[:2], -1).masked_fill((ids == UNUSED)[:, None], float("-inf"))
        return selected, largest.view(hidden.shape[:2])

    def _selected_logits(self, hidden: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(hidden)
        return logits.gather(1, columns), logits.amax(1)

    def consistent_cross_entropy(
        self, hidden: Tensor, targets: Tensor, label_smoothing: float, consistency: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the loss of R-Drop (Liang et al. 2021) over two passes of the same rows: hidden (2, R, D), targets (R,).

        The loss is the cross entropy of both passes plus `consistency` times the mean of the two divergences
        KL(p || q) and KL(q || p) of their predictions. Returns it with the detached nll (of both) and divergence. Rows
        whose target is -100 count for nothing.
        """
        if hidden.is_cpu:  # for a GPU the host would have to wait until it is known how many rows are left
            is_real = targets != IGNORE
            hidden, targets = hidden[:, is_real], targets[is_real]
        costs, divergence = _in_blocks(self._two_passes, hidden.transpose(0, 1), targets)
        nll, uniform = costs.sum(0).unbind()
        total = (1 - label_smoothing) * nll + label_smoothing * uniform + consistency / 2 * divergence.sum()
        return total, nll.detach(), divergence.sum().detach()

    def _two_passes(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (R, 2, D) -> the nll and the mean cost of all ids, of both passes (R, 2); both divergences (R,)."""
        log_probs = torch.log_softmax(self(hidden), dim=-1)  # (R, 2, V)
        nll = -log_probs.gather(2, targets.clamp_min(0)[:, None, None].expand(-1, 2, 1)).sum((1, 2))
        log_p, log_q = log_probs.unbind(1)
        divergence = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)
        is_real = targets != IGNORE
        return torch.stack((nll, -log_probs.mean(2).sum(1)), dim=1) * is_real[:, None], divergence * is_real


def _in_blocks(
    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], hidden: Tensor, more: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply a function to blocks of rows; with a gradient, their logits are computed again in the backward pass."""
    if kernels.is_reference("cross_entropy"):  # `torch.func` knows no checkpoints
        return function(hidden, more)
    blocks = zip(hidden.split(BLOCK_ROWS), more.split(BLOCK_ROWS), strict=True)
    if torch.is_grad_enabled():
        found = [checkpoint(function, rows, own, use_reentrant=False) for rows, own in blocks]
    else:
        found = [function(rows, own) for rows, own in blocks]
    first, second = zip(*found, strict=True)
    return torch.cat(first), torch.cat(second)
