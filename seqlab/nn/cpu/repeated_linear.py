"""Products with one matrix step after step, whose gradient is one product at the end of the backward pass.

Where each step needs the result of the step before, autograd adds to the gradient of a weight at each step: a product
of few rows, and a pass over memory as large as the weight. Here each step only saves its two factors. Decoders that
read their own attention train 1.05 to 1.2 times as fast.

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
    """x W^T + b for many x (R, K), each with the same number of rows, in `dtype`."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype)
        self._given, self._version = weight, _version(weight)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self._saved: list[tuple[Tensor, Tensor]] = []
        self._backward_pass = -1
        self._forward: Callable[[Tensor], Tensor] | None = None
        self._backward: Callable[[Tensor], Tensor] | None = None
        self._link: Tensor | None = _Gradient.apply(weight, bias, self)

    def __call__(self, x: Tensor) -> Tensor:
        """x (R, K) -> (R, N) in `dtype`."""
        assert self._link is not None, "its gradient has been taken"
        y: Tensor = _Product.apply(x, self._link, self)
        return y

    def multiply(self, x: Tensor) -> Tensor:
        """Compute x W^T + b."""
        if self._forward is None:
            self._forward = _packed_product(self.weight, self.bias, len(x))
        return self._forward(x)

    def multiply_back(self, grad: Tensor) -> Tensor:
        """Compute grad W."""
        if _version(self._given) != self._version:
            raise RuntimeError("A weight was changed in place between its forward and its backward pass.")
        if self._backward is None:
            self._backward = _packed_product(self.weight.t().contiguous(), None, len(grad))
        return self._backward(grad)

    def save(self, factor: Tensor, grad: Tensor) -> None:
        """Save the input of a product and the gradient of its output, for this backward pass.

        What a pass that did not ask for the weight's gradient has saved counts for no other pass.
        """
        backward_pass = torch._C._current_graph_task_id()
        if backward_pass != self._backward_pass:
            self._saved, self._backward_pass = [], backward_pass
        self._saved.append((factor, grad))

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Compute the gradients of weight and bias."""
        inputs, grads = (torch.cat(part) for part in zip(*self._saved, strict=True))
        self._saved = []
        self._link = None  # or this and the graph, with all that they hold, would keep each other alive
        return product(grads.t(), inputs.t()), grads.sum(0)


def _version(weight: Tensor) -> int:
    """Return what changes with each change in place; a tensor made under `inference_mode` does not count them."""
    return 0 if weight.is_inference() else weight._version


def _packed_product(weight: Tensor, bias: Tensor | None, rows: int) -> Callable[[Tensor], Tensor]:
    """Prepare x W^T + b for many x of so many rows; the weight (N, K) is packed once where that can be done."""
    packed = packed_for(weight, rows)
    if packed is None:
        return lambda x: F.linear(x, weight, bias)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


class _Gradient(torch.autograd.Function):
    """Make a number that every product depends on: its backward pass comes after theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, repeated: RepeatedLinear) -> Tensor:
        ctx.repeated, ctx.dtype = repeated, weight.dtype
        return weight.new_zeros(())

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_weight, of_bias = ctx.repeated.gradients()
        return of_weight.to(ctx.dtype), of_bias.to(ctx.dtype) if ctx.needs_input_grad[1] else None, None


class _Product(torch.autograd.Function):
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
