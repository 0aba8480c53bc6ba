"""Log-probabilities of a few ids in many frames, for losses that need only a sentence's own tokens, such as CTC.

The log-probabilities of all ids in all frames would be the largest tensor of a training step. Here blocks of rows are
projected, and probabilities in the dtype of the matrix products are saved for the backward pass. On a CPU this trains
the Multi30k CTC translator 1.2 times as fast as with blocks that the backward pass recomputes.

Shapes: B sentences, F frames, R = B * F rows, k ids of a sentence, V vocabulary, D hidden size.
"""

from typing import Any

import torch
from torch import Tensor

from seqlab.nn.blockwise_cross_entropy import block_rows, padded
from seqlab.nn.cpu.autograd import refuse_second_derivative
from seqlab.nn.cpu.linear import product

UNUSED_ID = -100
"""Padding in the ids of sentences that have fewer ids than others; each sentence has at least one id."""


class SelectedLogProbs(torch.autograd.Function):
    """hidden (B, F, D), weight (V, D), ids (B, k) -> log-probabilities (B, F, k), and means over all ids (B, F).

    With logits l = h W^T, probabilities p, gradient g of the selected log-probabilities and gradient m of the mean,
    the gradient with respect to l is g + m / V - (sum(g) + m) p. At the selected ids p may be near 1, so the gradient
    there is computed in fp32. At all others it is computed in the dtype of the matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor, dtype: torch.dtype, is_grad_enabled: bool
    ) -> tuple[Tensor, Tensor]:
        w, h = weight.to(dtype), hidden.float().flatten(0, 1)  # (R, D)
        columns = fill_unused(ids).repeat_interleave(hidden.size(1), 0)  # (R, k)
        selected = h.new_empty(columns.shape)
        means = h.new_empty(len(h))
        needs_grad, probs = is_grad_enabled and any(ctx.needs_input_grad[:2]), []
        size = block_rows(h)
        for start in range(0, len(h), size):
            rows = slice(start, start + size)
            logits = product(padded(h[rows], dtype), w)[: len(h[rows])]
            log_probs = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
            torch.gather(log_probs, 1, columns[rows], out=selected[rows])
            torch.mean(log_probs, 1, out=means[rows])
            if needs_grad:
                block = log_probs.exp_().to(dtype)
                probs.append(block.scatter_(1, columns[rows], 0.0))
        selected = selected.view(*hidden.shape[:2], -1).masked_fill((ids == UNUSED_ID)[:, None], float("-inf"))
        if needs_grad:
            ctx.save_for_backward(hidden, weight, ids, selected)
            ctx.probs = probs
        return selected, means.view(hidden.shape[:2])

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, ids, selected = ctx.saved_tensors
        used = (ids != UNUSED_ID)[:, None]  # (B, 1, k)
        grad_selected, grad_mean = grads[0].masked_fill(~used, 0.0), grads[1]  # (B, F, k), (B, F)
        total = grad_selected.sum(2) + grad_mean  # (B, F)
        columns = fill_unused(ids)
        h, vectors = hidden.float(), weight[columns].float()  # (B, F, D), (B, k, D)
        coefficients = grad_selected - selected.exp() * total[..., None]  # (B, F, k), 0 where nothing is selected
        grad_h = coefficients @ vectors + grad_mean[..., None] * weight.float().mean(0)
        grad_w = (grad_mean[..., None] * h).sum((0, 1)) / len(weight)
        grad_w = grad_w.expand_as(weight).clone()
        grad_w.index_add_(0, columns.flatten(), (coefficients.mT @ h).flatten(0, 1))
        rows, grad_rows, totals = h.flatten(0, 1), grad_h.flatten(0, 1), total.flatten()
        start = 0
        for block in ctx.probs:
            own_rows = slice(start, start + len(block))
            scaled = padded(block * totals[own_rows, None].to(block.dtype), block.dtype)
            grad_rows[own_rows] -= product(scaled, weight.to(block.dtype).t())[: len(block)]
            grad_w -= product(scaled.t(), padded(rows[own_rows], block.dtype).t()).float()
            start += len(block)
        return grad_h.to(hidden.dtype), grad_w.to(weight.dtype), None, None, None


def fill_unused(ids: Tensor) -> Tensor:
    """Replace `UNUSED_ID` in ids (B, k) by an id of the same sentence, for use as an index."""
    return ids.where(ids != UNUSED_ID, ids.amax(1, keepdim=True))
