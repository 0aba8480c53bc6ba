"""Vocabulary projection whose losses are computed in blocks of rows, without storing the logits of all tokens.

Those logits (tokens x vocabulary) would be the largest tensor of a training step.

Shapes: R rows, D hidden size, V vocabulary, B sentences, F frames, k ids of a sentence.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqlab.nn import kernels
from seqlab.nn.blockwise_cross_entropy import IGNORE
from seqlab.nn.selected_log_probs import UNUSED_ID, fill_unused

ROWS_PER_LOSS_BLOCK = 1024
"""Rows whose logits are stored at once."""
CACHED_ROWS = 160
"""Rows whose logits fit into the cache of a CPU."""


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
        """Compute log-probabilities in fp32, without a gradient: hidden (N, D) -> (N, V), in nats.

        On a CPU they are computed in blocks of rows whose logits fit into the cache: 6% faster, and with less memory.
        """
        if not hidden.is_cpu:
            return torch.log_softmax(kernels.linear(hidden, self.weight), dim=-1, dtype=torch.float32)
        scores = hidden.new_empty(hidden.size(0), self.weight.size(0), dtype=torch.float32)
        for rows, block in zip(hidden.split(CACHED_ROWS), scores.split(CACHED_ROWS), strict=True):
            torch.log_softmax(kernels.linear(rows, self.weight), dim=-1, dtype=torch.float32, out=block)
        return scores

    def cross_entropy(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum the label-smoothed loss and the nll over rows: hidden (R, D), targets (R,) -> two scalars in nats.

        Rows with target -100 are ignored. Label smoothing is uniform over the vocabulary, as in
        `torch.nn.functional.cross_entropy`. The nll is not smoothed and is detached.
        """
        return kernels.cross_entropy(hidden, self.weight, targets, label_smoothing)

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log-probabilities of targets (R,), and the means over all ids (R,), from hidden (R, D), in fp32.

        Both are differentiable row by row, for losses that weight rows differently.
        """
        return _in_blocks(self._target_log_probs, hidden, targets)

    def _target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = torch.log_softmax(self(hidden), dim=-1)
        return log_probs.gather(1, targets[:, None])[:, 0], log_probs.mean(1)

    def selected_log_probs(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Compute log-probabilities of a few ids of each sentence in all frames, in fp32.

        hidden (B, F, D), ids (B, k) -> log-probabilities (B, F, k), and means over all ids (B, F). The ids of a
        sentence are distinct; shorter lists are filled with `UNUSED_ID`, whose log-probability is -inf.
        """
        return kernels.selected_log_probs(hidden, self.weight, ids)

    @torch.no_grad()
    def selected_logits(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits of a few ids of each sentence in all frames, without a gradient.

        hidden (B, F, D), ids (B, k) as in `selected_log_probs` -> logits (B, F, k), and the largest logit over all ids
        (B, F).
        """
        columns = fill_unused(ids).repeat_interleave(hidden.size(1), 0)  # (B * F, k)
        selected, largest = _in_blocks(self._selected_logits, hidden.flatten(0, 1), columns)
        selected = selected.view(*hidden.shape[:2], -1).masked_fill((ids == UNUSED_ID)[:, None], float("-inf"))
        return selected, largest.view(hidden.shape[:2])

    def _selected_logits(self, hidden: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(hidden)
        return logits.gather(1, columns), logits.amax(1)

    def r_drop_loss(
        self, hidden: Tensor, targets: Tensor, label_smoothing: float, consistency: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the R-Drop loss over two passes of the same rows (Liang et al. 2021): hidden (2, R, D), targets (R,).

        The loss is the cross entropy of both passes plus `consistency` times the mean of KL(p || q) and KL(q || p) of
        their predictions. Returns the loss, the detached nll of both passes and the detached divergence. Rows with
        target -100 are ignored.
        """
        if hidden.is_cpu:  # on a GPU, counting the remaining rows would wait for the device
            is_real = targets != IGNORE
            hidden, targets = hidden[:, is_real], targets[is_real]
        costs, divergence = _in_blocks(self._r_drop_terms, hidden.transpose(0, 1), targets)
        nll, uniform = costs.sum(0).unbind()
        total = (1 - label_smoothing) * nll + label_smoothing * uniform + consistency / 2 * divergence.sum()
        return total, nll.detach(), divergence.sum().detach()

    def _r_drop_terms(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (R, 2, D) -> nll and mean nll over all ids, summed over passes (R, 2); summed KL divergences (R,)."""
        log_probs = torch.log_softmax(self(hidden), dim=-1)  # (R, 2, V)
        nll = -log_probs.gather(2, targets.clamp_min(0)[:, None, None].expand(-1, 2, 1)).sum((1, 2))
        log_p, log_q = log_probs.unbind(1)
        divergence = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)
        is_real = targets != IGNORE
        return torch.stack((nll, -log_probs.mean(2).sum(1)), dim=1) * is_real[:, None], divergence * is_real


def _in_blocks(
    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], hidden: Tensor, ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply a function to blocks of rows; in training, the backward pass recomputes their logits."""
    if kernels.is_reference("cross_entropy"):  # `torch.func` does not support checkpoints
        return function(hidden, ids)
    blocks = zip(hidden.split(ROWS_PER_LOSS_BLOCK), ids.split(ROWS_PER_LOSS_BLOCK), strict=True)
    if torch.is_grad_enabled():
        results = [checkpoint(function, *block, use_reentrant=False) for block in blocks]
    else:
        results = [function(*block) for block in blocks]
    first, second = zip(*results, strict=True)
    return torch.cat(first), torch.cat(second)
