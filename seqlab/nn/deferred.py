"""Products with one matrix step after step, whose gradient is one product at the end of the backward pass.

Where each step needs the result of the one before, autograd adds to the gradient of a weight at each step: a product of
few rows, and a pass over memory as large as the weight. Here each step only notes its two factors.
"""

from typing import Any

import torch
from torch import Tensor

from seqlab.nn.first_order import first_order
from seqlab.nn.linear import product
from seqlab.nn.recurrent_loop import repeated_product


class Deferred:
    """x W^T + b for many x (R, K), or x (B, R, K) where there is a matrix W (B, N, K) for each of B sentences.

    Products run in `dtype`. Every x has the same number of rows.
    """

    def __init__(self, matrix: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
        self.matrix = matrix.detach().to(dtype)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self._noted: list[tuple[Tensor, Tensor]] = []
        self._backward_pass = -1
        self._forth: Any = None
        self._back: Any = None
        self._link: Tensor | None = _Gradient.apply(matrix, bias, self)

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., R, K) -> (..., R, N) in `dtype`."""
        assert self._link is not None, "its gradient has been taken"
        y: Tensor = _Product.apply(x, self._link, self)
        return y

    def multiply(self, x: Tensor) -> Tensor:
        """Compute x W^T + b in `dtype`."""
        if self.matrix.dim() == 3:
            return torch.bmm(x, self.matrix.transpose(1, 2))
        if not x.is_cpu:
            return torch.nn.functional.linear(x, self.matrix, self.bias)
        if self._forth is None:
            rows, width = len(x), len(self.matrix)
            bias = x.new_zeros(width) if self.bias is None else self.bias
            self._forth = repeated_product(self.matrix, rows), bias.expand(rows, width).contiguous()
        times, added = self._forth
        y: Tensor = times(x, added)
        return y

    def multiply_back(self, grad: Tensor) -> Tensor:
        """Compute grad W in `dtype`."""
        if self.matrix.dim() == 3:
            return torch.bmm(grad, self.matrix)
        if not grad.is_cpu:
            return grad @ self.matrix
        if self._back is None:
            transposed = self.matrix.t().contiguous()
            self._back = repeated_product(transposed, len(grad)), grad.new_zeros(len(grad), len(transposed))
        times, added = self._back
        x: Tensor = times(grad, added)
        return x

    def note(self, factor: Tensor, grad: Tensor) -> None:
        """Note the input of a product and the gradient of its output, for this backward pass.

        A pass that did not ask for the matrix's gradient leaves its notes behind: they count for no other pass.
        """
        backward_pass = torch._C._current_graph_task_id()
        if backward_pass != self._backward_pass:
            self._noted, self._backward_pass = [], backward_pass
        self._noted.append((factor, grad))

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Give the gradients of matrix and bias."""
        inputs, grads = (torch.cat(part, dim=-2) for part in zip(*self._noted, strict=True))
        self._noted = []
        self._link = None  # or this and the graph, with all that they hold, would keep each other alive
        if grads.dim() == 3:
            return torch.bmm(grads.transpose(1, 2), inputs), grads.sum((0, 1))
        return product(grads.t(), inputs.t()), grads.sum(0)


class _Gradient(torch.autograd.Function):
    """Give a number that every product depends on: its backward pass comes after theirs."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, bias: Tensor | None, deferred: Deferred) -> Tensor:
        ctx.deferred, ctx.dtype = deferred, matrix.dtype
        return matrix.new_zeros(())

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_matrix, of_bias = ctx.deferred.gradients()
        return of_matrix.to(ctx.dtype), of_bias.to(ctx.dtype) if ctx.needs_input_grad[1] else None, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, link: Tensor, deferred: Deferred) -> Tensor:
        factor = x.to(deferred.matrix.dtype)
        ctx.save_for_backward(factor, link)
        ctx.deferred, ctx.dtype = deferred, x.dtype
        return deferred.multiply(factor)

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (factor, link), deferred = ctx.saved_tensors, ctx.deferred
        grad = grads[0].contiguous()
        deferred.note(factor, grad)
        grad_x = deferred.multiply_back(grad).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return grad_x, link, None
