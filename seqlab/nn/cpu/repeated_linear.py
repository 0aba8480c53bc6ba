"""Repeated linear products with one weight, whose gradient is computed once after the backward passes of all products.

In a loop over steps, autograd adds to the weight's gradient at each step: a product of few rows, and a pass over memory
of the weight's size. Here each step only saves the two factors of that product. Decoders with input feeding train 1.05
to 1.2 times as fast.

Shapes: R rows, K inputs, N outputs.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.cpu.autograd import refuse_second_derivative
from seqlab.nn.cpu.linear import packed_for, product


class RepeatedLinear:
    """x W^T + b in `dtype` for a sequence of x (R, K), all with the same number of rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype)
        self._original, self._version = weight, _version(weight)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self._saved: list[tuple[Tensor, Tensor]] = []
        self._backward_pass = -1
        self._forward: Callable[[Tensor], Tensor] | None = None
        self._backward: Callable[[Tensor], Tensor] | None = None
        self._link: Tensor | None = _Gradient.apply(weight, bias, self)

    def __call__(self, x: Tensor) -> Tensor:
        """x (R, K) -> (R, N) in `dtype`."""
        assert self._link is not None, "the backward pass has already run"
        y: Tensor = _Product.apply(x, self._link, self)
        return y

    def multiply(self, x: Tensor) -> Tensor:
        """Compute x W^T + b."""
        if self._forward is None:
            self._forward = _packed_product(self.weight, self.bias, len(x))
        return self._forward(x)

    def multiply_back(self, grad: Tensor) -> Tensor:
        """Compute grad W."""
        if _version(self._original) != self._version:
            raise RuntimeError("A weight was changed in place between the forward and the backward pass.")
        if self._backward is None:
            self._backward = _packed_product(self.weight.t().contiguous(), None, len(grad))
        return self._backward(grad)

    def save(self, factor: Tensor, grad: Tensor) -> None:
        """Save the input of a product, and the gradient of its output, until `gradients` is called.

        Factors that are left from an earlier backward pass, without a weight gradient, are dropped.
        """
        backward_pass = torch._C._current_graph_task_id()
        if backward_pass != self._backward_pass:
            self._saved, self._backward_pass = [], backward_pass
        self._saved.append((factor, grad))

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Compute the gradients of weight and bias from the saved factors."""
        inputs, grads = (torch.cat(part) for part in zip(*self._saved, strict=True))
        self._saved = []
        self._link = None  # breaks the reference cycle between this object and the graph
        return product(grads.t(), inputs.t()), grads.sum(0)


def _version(weight: Tensor) -> int:
    """Return autograd's version counter, which tensors created under `inference_mode` do not have (0)."""
    return 0 if weight.is_inference() else weight._version


def _packed_product(weight: Tensor, bias: Tensor | None, rows: int) -> Callable[[Tensor], Tensor]:
    """Return a function x (rows, K) -> x W^T + b, with the weight (N, K) packed once where possible."""
    packed = packed_for(weight, rows)
    if packed is None:
        return lambda x: F.linear(x, weight, bias)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


class _Gradient(torch.autograd.Function):
    """A scalar that all products depend on; its backward pass runs after theirs and computes the weight's gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, repeated: RepeatedLinear) -> Tensor:
        ctx.repeated, ctx.dtype = repeated, weight.dtype
        return weight.new_zeros(())

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_weight, grad_bias = ctx.repeated.gradients()
        return grad_weight.to(ctx.dtype), grad_bias.to(ctx.dtype) if ctx.needs_input_grad[1] else None, None


class _Product(torch.autograd.Function):
    """One product, whose backward pass saves its factors for `_Gradient`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, link: Tensor, repeated: RepeatedLinear) -> Tensor:
        factor = x.to(repeated.weight.dtype)
        ctx.save_for_backward(factor, link)
        ctx.repeated, ctx.dtype = repeated, x.dtype
        return repeated.multiply(factor)

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (factor, link), repeated = ctx.saved_tensors, ctx.repeated
        grad = grads[0].contiguous()
        repeated.save(factor, grad)
        grad_x = repeated.multiply_back(grad).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return grad_x, link, None
