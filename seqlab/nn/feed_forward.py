"""The position-wise half of a Transformer layer."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.dropout import Dropout
from seqlab.nn.first_order import first_order
from seqlab.nn.linear import Linear, compute_dtype, product, with_padded_rows
from seqlab.nn.steady import steady_silu

Activation = Literal["relu", "gelu", "swiglu"]


class _ReluFeedForward(torch.autograd.Function):
    """Both linear maps and the relu between, whose result is kept once and stays in padded rows.

    Apart they keep it twice, for the relu and for the second map, and copy it into padded rows and out of them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, dtype: torch.dtype
    ) -> Tensor:
        rows, w_in_cast, w_out_cast = with_padded_rows(x, dtype), w_in.to(dtype), w_out.to(dtype)
        hidden = product(rows, w_in_cast, b_in.to(dtype), "relu")
        y = product(hidden, w_out_cast, b_out.to(dtype))
        ctx.save_for_backward(rows, hidden, w_in_cast, w_out_cast)
        ctx.x_dtype, ctx.w_dtype = x.dtype, w_in.dtype
        return y[: x.numel() // x.shape[-1]].view(x.shape)

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, hidden, w_in, w_out = ctx.saved_tensors
        (grad,) = grads
        grad_rows = with_padded_rows(grad, w_out.dtype)  # rows that only pad get no gradient
        grad_hidden = torch.ops.aten.threshold_backward(product(grad_rows, w_out.t()), hidden, 0)
        grad_x = product(grad_hidden, w_in.t())[: grad.numel() // grad.shape[-1]].view(grad.shape)
        of_parameters = (
            product(grad_hidden.t(), rows.t()),
            grad_hidden.sum(0),
            product(grad_rows.t(), hidden.t()),
            grad_rows.sum(0),
        )
        return grad_x.to(ctx.x_dtype), *(each.to(ctx.w_dtype) for each in of_parameters), None


class FeedForward(nn.Module):
    """Two linear maps with a non-linearity between; `swiglu` gates one half by the other (Shazeer 2020)."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = activation
        self.expand = Linear(d_model, 2 * d_ff if activation == "swiglu" else d_ff)
        self.contract = Linear(d_ff, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        drops = self.training and self.dropout.p > 0
        if self.activation == "relu" and not drops and torch.is_grad_enabled() and x.device.type == "cpu":
            parameters = (self.expand.weight, self.expand.bias, self.contract.weight, self.contract.bias)
            y: Tensor = _ReluFeedForward.apply(x, *parameters, compute_dtype(self.expand.weight))
            return y
        if self.activation == "swiglu":
            gate, value = self.expand(x).chunk(2, dim=-1)
            hidden = (F.silu(gate) if self.training else steady_silu(gate)) * value
        else:
            hidden = self.expand(x, self.activation)
        return self.contract(self.dropout(hidden) if drops else hidden)
