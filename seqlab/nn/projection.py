"""The projection onto the vocabulary and its cross entropy, in blocks of rows.

The logits of all tokens at once would be the largest tensor of a training step (tokens x vocabulary). A block of rows
is projected, its loss and its gradient are taken at once, and its logits are dropped.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqlab.nn.first_order import first_order
from seqlab.nn.linear import PackableLinear, compute_dtype, product, with_padded_rows
from seqlab.nn.selected_log_probs import SelectedLogProbs, selected_logits

BLOCK_ROWS = 1024
CACHED_ROWS = 160


class VocabularyProjection(PackableLinear):
    """Map hidden states to logits with a weight (V, D) that may be shared with an embedding."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, None

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> logits (..., V) in fp32."""
        return self.multiply(hidden).float()

    @torch.no_grad()
    def log_probs(self, hidden: Tensor) -> Tensor:
        """hidden (N, D) -> log-probabilities (N, V) in nats, in fp32; without a gradient.

        In blocks of so few rows that the CPU's cache holds their logits: 6% faster, and the logits of all rows are
        never there beside the result.
        """
        scores = hidden.new_empty(hidden.size(0), self.weight.size(0), dtype=torch.float32)
        for rows, block in zip(hidden.split(CACHED_ROWS), scores.split(CACHED_ROWS), strict=True):
            torch.log_softmax(self.multiply(rows), dim=-1, dtype=torch.float32, out=block)
        return scores

    def cross_entropy(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum the smoothed loss and the plain nll over rows: hidden (R, D), targets (R,) -> two scalars in nats.

        Label smoothing is uniform over the vocabulary, as in torch.nn.functional.cross_entropy. The nll is detached.
        """
        total, nll, _ = self._loss(hidden[None], targets, label_smoothing, 0.0)
        return total, nll

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (R, D), targets (R,) -> log-probabilities of the targets and means over all ids (R,), in fp32.

        With a gradient for each of them, for losses that are no plain sum: the logits of a block are computed again in
        the backward pass.
        """
        blocks = zip(hidden.split(BLOCK_ROWS), targets.split(BLOCK_ROWS), strict=True)
        found = [checkpoint(self._log_probs_of, rows, ids, use_reentrant=False) for rows, ids in blocks]
        of_targets, means = zip(*found, strict=True)
        return torch.cat(of_targets), torch.cat(means)

    def _log_probs_of(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = torch.log_softmax(self(hidden), dim=-1)
        return log_probs.gather(1, targets[:, None])[:, 0], log_probs.mean(1)

    def selected_log_probs(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) -> log-probabilities (B, F, k), and means over all ids (B, F).

        The ids of a sentence are different ones, with `UNUSED` where it has fewer than others: -inf there.
        """
        dtype = compute_dtype(self.weight)
        with torch.autocast(hidden.device.type, enabled=False):  # every dtype is explicit there
            found: tuple[Tensor, Tensor] = SelectedLogProbs.apply(hidden, self.weight, ids, dtype)
        return found

    def selected_logits(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, F, D), ids (B, k) as above -> logits (B, F, k), and the largest of all ids (B, F); no gradient."""
        dtype = compute_dtype(self.weight)
        with torch.autocast(hidden.device.type, enabled=False):
            return selected_logits(hidden, self.weight, ids, dtype)

    def consistent_cross_entropy(
        self, hidden: Tensor, targets: Tensor, label_smoothing: float, consistency: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the loss of R-Drop (Liang et al. 2021) over two passes of the same rows: hidden (2, R, D), targets (R,).

        The loss is the cross entropy of both passes plus `consistency` times the mean of the two divergences
        KL(p || q) and KL(q || p) of their predictions. Returns it with the detached nll (of both) and divergence.
        """
        return self._loss(hidden, targets, label_smoothing, consistency)

    def _loss(
        self, hidden: Tensor, targets: Tensor, label_smoothing: float, consistency: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = compute_dtype(self.weight)
        with torch.autocast(hidden.device.type, enabled=False):  # every dtype is explicit below
            losses: tuple[Tensor, Tensor, Tensor] = _BlockwiseLoss.apply(
                hidden, self.weight, targets, label_smoothing, consistency, dtype
            )
        return losses


class _BlockwiseLoss(torch.autograd.Function):
    """With logits l = h W^T and probabilities p, the smoothed cross entropy of a row with target y is

        lse(l) - (1 - s) l_y - s mean(l)

    and its gradient with respect to l is p - (1 - s) onehot(y) - s / V. Only p needs a pass over rows x vocabulary:
    the other two terms are dot products with W_y and with the mean of W's rows, forward and backward.

    A confident p_y is close to 1, where bf16 knows only 1 and 0.996. So p_y is taken out of p, and r = 1 - p_y is the
    sum of the others, which keeps its relative precision: the nll is -log(1 - r), and y's part of the gradient s - r.

    For two passes with probabilities p and q and the difference d of their logits, KL(p || q) + KL(q || p) is
    sum((p - q) d), and its gradient is (p - q) + p (d - sum(p d)) with respect to the first logits, and likewise with
    the other sign and q for the second.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        smoothing: float,
        consistency: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        w, h = weight.to(dtype), hidden.float()  # (V, D), (passes, R, D)
        mean_w, target_w = weight.float().mean(0), weight[targets].float()
        needs_grad = any(ctx.needs_input_grad[:2])
        grad_h = torch.empty_like(h)
        grad_w: Tensor | None = None
        others = h.new_empty(h.shape[:2])  # (passes, R): the probability of all symbols but the target
        nll, divergence = h.new_zeros(()), h.new_zeros(())
        for start in range(0, h.size(1), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, h.size(1)))
            block = _Block(h[:, rows], targets[rows], w, consistency)
            nll, divergence, others[:, rows] = nll + block.nll, divergence + block.divergence, block.others
            if needs_grad:
                grad_h[:, rows] = block.gradient_of_hidden()
                grad_w = block.gradient_of_weight(grad_w)
        total = nll + smoothing * ((target_w - mean_w) * h).sum() + consistency / 2 * divergence
        if needs_grad:
            if grad_w is None:  # no row at all: a rank that has less to do than the others
                grad_w = torch.zeros_like(weight, dtype=torch.float32)
            to_target = (smoothing - others)[..., None]
            grad_h += to_target * target_w - smoothing * mean_w
            grad_w.index_add_(0, targets, (to_target * h).sum(0))
            grad_w -= h.sum((0, 1)) * (smoothing / w.size(0))
            ctx.save_for_backward(grad_h, grad_w)
            ctx.dtypes = hidden.dtype, weight.dtype
        ctx.mark_non_differentiable(nll, divergence)
        return total, nll, divergence

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_h, grad_w = ctx.saved_tensors
        h_dtype, w_dtype = ctx.dtypes
        return (grad_h * grads[0]).to(h_dtype), (grad_w * grads[0]).to(w_dtype), None, None, None, None


class _Block:
    """Some rows: their losses, and the gradient with respect to their logits but for that of the targets."""

    def __init__(self, hidden: Tensor, targets: Tensor, weight: Tensor, consistency: float) -> None:
        """hidden (passes, R, D), targets (R,), weight (V, D) in the dtype of the products."""
        self.count, self.weight = len(targets), weight
        self.rows = [with_padded_rows(each, weight.dtype) for each in hidden]
        self.gradients = [torch.softmax(product(each, weight), dim=-1) for each in self.rows]
        self.nll, self.divergence = hidden.new_zeros(()), hidden.new_zeros(())
        self.others = hidden.new_empty(hidden.shape[:2])
        added: list[Tensor] = []
        if consistency > 0:
            difference = product(with_padded_rows(hidden[0] - hidden[1], weight.dtype), weight)
            self.divergence, added = _divergence_gradient(self.gradients, difference, consistency / 2)
        for i, probs in enumerate(self.gradients):
            nll, self.others[i] = _take_out_targets(probs[: self.count], targets)
            self.nll += nll
            if added:
                probs += added[i]

    def gradient_of_hidden(self) -> Tensor:
        """(passes, R, D)"""
        return torch.stack([product(each, self.weight.t())[: self.count] for each in self.gradients])

    def gradient_of_weight(self, total: Tensor | None) -> Tensor:
        """Add to a sum in fp32, (V, D), or begin it."""
        for gradient, rows in zip(self.gradients, self.rows, strict=True):
            own = product(gradient.t(), rows.t()).float()  # adding bf16 to fp32 takes twice as long
            total = own if total is None else total.add_(own)
        assert total is not None, "there is at least one pass"
        return total


def _take_out_targets(probs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Set the targets' probabilities (R, V) to 0; give the summed nll and what is left of each row (R,), in fp32.

    A target whose probability is too small for a float counts 87.3 nats.
    """
    rows = torch.arange(len(targets), device=targets.device)
    target_probs = probs[rows, targets].float()
    probs[rows, targets] = 0  # `scatter_` takes 100 times as long
    others = probs.sum(-1).float()  # summed in fp32 inside; a sum into fp32 copies first
    unlikely = -target_probs.clamp_min_(torch.finfo(torch.float32).tiny).log()
    return torch.where(others < 0.5, -torch.log1p(-others.clamp_max(0.5)), unlikely).sum(), others


def _divergence_gradient(probs: list[Tensor], difference: Tensor, factor: float) -> tuple[Tensor, list[Tensor]]:
    """Sum both divergences of p and q, and give `factor` times their gradient with respect to each one's logits."""
    p, q = probs
    gap = p - q
    divergence = torch.linalg.vecdot(gap, difference).sum(dtype=torch.float32)
    backward = torch.ops.aten._softmax_backward_data  # p (d - sum(p d)) in one pass
    to_p = gap + backward(difference, p, -1, difference.dtype)
    to_q = gap + backward(difference, q, -1, difference.dtype)
    return divergence, [to_p.mul_(factor), to_q.mul_(-factor)]
