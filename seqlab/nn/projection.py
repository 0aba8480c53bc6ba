"""The projection onto the vocabulary and its cross entropy, in blocks of rows.

The logits of all tokens at once would be the largest tensor of a training step (tokens x vocabulary). A block of rows
is projected, its loss and its gradient are taken at once, and its logits are dropped.
"""

from typing import Any

import torch
from torch import Tensor, nn

from seqlab.nn.linear import compute_dtype, linear, with_padded_rows

BLOCK_ROWS = 1024


class VocabularyProjection(nn.Module):
    """Map hidden states to logits with a weight (V, D) that may be shared with an embedding."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> logits (..., V) in fp32."""
        return linear(hidden, self.weight).float()

    def cross_entropy(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum the smoothed loss and the plain nll over rows: hidden (R, D), targets (R,) -> two scalars in nats.

        Label smoothing is uniform over the vocabulary, as in torch.nn.functional.cross_entropy. The nll is detached.
        """
        return _BlockwiseCrossEntropy.apply(hidden, self.weight, targets, label_smoothing, compute_dtype(self.weight))


class _BlockwiseCrossEntropy(torch.autograd.Function):
    """With logits l = h W^T and probabilities p, the smoothed loss of a row with target y is

        lse(l) - (1 - s) l_y - s mean(l)

    and its gradient with respect to l is p - (1 - s) onehot(y) - s / V. Only p needs a pass over rows x vocabulary:
    the other two terms are dot products with W_y and with the mean of W's rows, forward and backward.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        w, h = weight.to(dtype), hidden.float()
        mean_w = weight.float().mean(0)
        target_w = weight[targets].float()
        # The projected rows are in `dtype`; the target's logit must be that of the same product.
        nll = torch.empty(h.size(0), device=h.device)
        needs_grad = any(ctx.needs_input_grad[:2])
        grad_h = torch.empty_like(h) if needs_grad else None
        grad_w = torch.zeros_like(weight, dtype=torch.float32) if needs_grad else None
        for start in range(0, h.size(0), BLOCK_ROWS):
            block = slice(start, min(start + BLOCK_ROWS, h.size(0)))
            count = block.stop - block.start
            rows = with_padded_rows(h[block], dtype)
            probs = torch.softmax(rows @ w.t(), dim=-1)  # (block, V)
            target_probs = probs[:count].gather(1, targets[block, None]).squeeze(1).float()
            nll[block] = -target_probs.clamp_min_(torch.finfo(torch.float32).tiny).log()
            if grad_h is not None and grad_w is not None:
                grad_h[block] = (probs @ w)[:count]
                grad_w += probs.t() @ rows
        total = nll.sum()
        if smoothing > 0:
            total = total + smoothing * ((target_w - mean_w) * h).sum()
        if grad_h is not None and grad_w is not None:
            grad_h -= (1 - smoothing) * target_w + smoothing * mean_w
            grad_w.index_add_(0, targets, h, alpha=smoothing - 1)
            grad_w -= h.sum(0) * (smoothing / w.size(0))
            ctx.save_for_backward(grad_h, grad_w)
            ctx.dtypes = hidden.dtype, weight.dtype
        nll_sum = nll.sum()
        ctx.mark_non_differentiable(nll_sum)
        return total, nll_sum

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_h, grad_w = ctx.saved_tensors
        h_dtype, w_dtype = ctx.dtypes
        return (grad_h * grads[0]).to(h_dtype), (grad_w * grads[0]).to(w_dtype), None, None, None
