"""Symbols looked up step after step, whose gradient is taken once, at the end of the backward pass.

Where a step reads what the one before has predicted, autograd makes a gradient as large as the weight at each step.
Here each step only notes what it looked up, shares of all symbols in the precision of products. Shapes: N rows, T
steps, V vocabulary, E embedding size.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.first_order import first_order
from seqlab.nn.linear import compute_dtype, product


def look_up(rows: Tensor, weight: Tensor) -> Tensor:
    """Look up ids (N,), or means of all symbols by their shares (N, V), in a weight (V, E): (N, E) in fp32."""
    if rows.dim() == 1:
        return F.embedding(rows, weight).float()
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ weight.float()


class DeferredLookup:
    """Look-ups in one weight (V, E), at each of T steps of N rows at most once."""

    def __init__(self, weight: Tensor, rows: int, steps: int) -> None:
        self.weight, self._shape = weight, (rows, steps)
        self.rows: dict[int, Tensor] = {}
        self._links: tuple[Tensor, ...] = ()

    def __call__(self, rows: Tensor, step: int) -> Tensor:
        """Look up as `look_up` does."""
        if not self._links:  # a link that no step takes would have no backward pass, after which nothing is kept
            link: Tensor = _Gradient.apply(self.weight, self, *self._shape)
            self._links = link.unbind(0)
        self.rows[step] = rows if rows.dim() == 1 else rows.to(compute_dtype(self.weight))
        return look_up(rows, self.weight.detach()) + self._links[step]

    def gradient(self, grads: Tensor) -> Tensor:
        """Give the weight's gradient (V, E) from those of all steps (T, N, E)."""
        rows, grads = list(self.rows.values()), grads[list(self.rows)]
        self._links = ()  # or this and the graph, with all that they hold, would keep each other alive
        if rows[0].dim() == 1:
            ids, grads = torch.cat(rows), grads.flatten(0, 1)
            gradient: Tensor = torch.ops.aten.embedding_dense_backward(grads, ids, len(self.weight), -1, False)
            return gradient
        total = torch.zeros(self.weight.shape, device=grads.device)
        for shares, grad in zip(rows, grads, strict=True):
            total += product(shares.t(), grad.to(shares.dtype).t())
        return total


class _Gradient(torch.autograd.Function):
    """Give zeros that every step adds to what it looked up: its backward pass comes after theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, lookup: DeferredLookup, rows: int, steps: int) -> Tensor:
        ctx.lookup, ctx.dtype = lookup, weight.dtype
        return weight.new_zeros((), dtype=torch.float32).expand(steps, rows, weight.size(1))

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.lookup.gradient(grads[0]).to(ctx.dtype), None, None, None
