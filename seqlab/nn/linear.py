"""A linear layer that computes in the precision asked for and whose rows do not depend on how many they are.

On the CPU the rows of the input are padded up to one of a closed list of sizes, for two reasons. First, oneDNN builds
a kernel for every new shape (about 0.5 ms each), so that batches of ever new sizes would spend more time on building
kernels than on products. Second, a product of very few rows takes another code path: with at least `MIN_ROWS`, a row's
result does not depend on the other rows, which is what makes answers independent of the batch.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.first_order import first_order

# Without AVX-512 it is not faster than `F.linear`, which goes to MKL: gradients of weights take 1.5 times as long.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and torch.cpu.get_capabilities().get("avx512_f", False)
_ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _HAS_ONEDNN else None
_ONEDNN_PACK = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None) if _HAS_ONEDNN else None
_ONEDNN_HAS_BF16 = _ONEDNN_LINEAR is not None and torch.cpu.get_capabilities().get("avx512_bf16", False)
_PACKED_DTYPES = (torch.float32, torch.bfloat16) if _ONEDNN_HAS_BF16 else (torch.float32,)

Elementwise = Literal["none", "relu", "gelu"]
"""What may follow a product, by oneDNN's names."""
_EXACT = "none"
"""oneDNN's name for the gelu that is not the one by tanh."""

MIN_ROWS = 2 if _ONEDNN_HAS_BF16 else 16
"""oneDNN takes another path for a single row, MKL for fewer than 16."""


def padded_rows(rows: int, least: int = MIN_ROWS) -> int:
    """Round up: to a power of two below 16 rows, to a multiple of 16, from 128 on of 1/8 of the power of two below."""
    if rows < 16:
        return max(least, 1 << (rows - 1).bit_length())
    step = max(16, 1 << (rows.bit_length() - 4))
    return -(-rows // step) * step


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Tell in which dtype a product with `weight` runs: the weight's own, or autocast's for fp32 weights."""
    device = weight.device.type
    if weight.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: Elementwise = "none") -> Tensor:
    """Compute x W^T + b, activated, for x (M, K) and weight (N, K) of one dtype, either of which may be transposed.

    On the CPU oneDNN's own operator is private to torch, so `F.linear` must do where a version lacks it. In fp32 it
    takes half the time of `F.linear`, which goes to MKL; in bf16 it adds the bias as it writes, where `F.linear` fills
    the result with the bias first. In bf16 without a bias it is the slower one.
    """
    is_faster = x.dtype == torch.float32 or (bias is not None and x.dtype == torch.bfloat16 and _ONEDNN_HAS_BF16)
    if is_faster and x.device.type == "cpu" and _ONEDNN_LINEAR is not None:
        y: Tensor = _ONEDNN_LINEAR(x, weight, bias, activation, [], _EXACT)
        return y
    return _activated(x @ weight.t() if bias is None else F.linear(x, weight, bias), activation)


def _activated(x: Tensor, activation: Elementwise) -> Tensor:
    if activation == "none":
        return x
    return F.relu(x) if activation == "relu" else F.gelu(x)


def pack(weight: Tensor, rows: int) -> Tensor | None:
    """Lay a weight (N, K) out as oneDNN multiplies about so many rows by it; None where it does not multiply.

    Else it does so at each call, which takes as long as the product with 32 rows.
    """
    if _ONEDNN_LINEAR is None or _ONEDNN_PACK is None or weight.dtype not in _PACKED_DTYPES:
        return None
    packed: Tensor = _ONEDNN_PACK(weight, rows)
    return packed


def with_padded_rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy x (..., K) to (M, K) in `dtype`, with rows of zeros up to `padded_rows`; x itself where nothing changes."""
    if x.dim() != 2:
        x = x.reshape(-1, x.shape[-1])
    rows = x.shape[0]
    size = padded_rows(rows)
    if size == rows:
        return x if x.dtype == dtype else x.to(dtype)
    padded = x.new_empty(size, x.shape[1], dtype=dtype)
    padded[:rows] = x
    padded[rows:] = 0
    return padded


def pad_rows(x: Tensor) -> Tensor:
    """Append rows to x (N, K) so that products on the CPU take it as it is; what they hold has no meaning.

    So a step of decoding pads once for all layers. Where as many rows are missing as there are, as for a lone row, they
    are repeated, which takes one call.
    """
    rows = x.size(0)
    missing = padded_rows(rows) - rows if x.device.type == "cpu" else 0
    if missing == 0:
        return x
    return torch.cat((x, x)) if missing == rows else F.pad(x, (0, 0, 0, missing))


def _on_padded_rows(
    x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, activation: Elementwise = "none"
) -> tuple[Tensor, Tensor, Tensor]:
    """Give x W^T + b, activated, and the two factors as they were multiplied."""
    rows, w = with_padded_rows(x, dtype), weight.to(dtype)
    y = product(rows, w, None if bias is None else bias.to(dtype), activation)
    return y[: x.numel() // x.shape[-1]].view(*x.shape[:-1], weight.shape[0]), rows, w


class _RowPaddedLinear(torch.autograd.Function):
    """y = x W^T + b on padded rows; gradients of the parameters come out in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        y, rows, w = _on_padded_rows(x, weight, bias, dtype)
        ctx.save_for_backward(rows, w)
        ctx.x_shape, ctx.x_dtype = x.shape, x.dtype
        ctx.w_dtype = weight.dtype
        return y

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, w = ctx.saved_tensors
        (grad,) = grads
        grad_rows = with_padded_rows(grad, w.dtype)
        grad_x = grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            count = grad.numel() // grad.shape[-1]
            grad_x = product(grad_rows, w.t())[:count].view(ctx.x_shape).to(ctx.x_dtype)
        if ctx.needs_input_grad[1]:
            grad_w = product(grad_rows.t(), rows.t()).to(ctx.w_dtype)
        if ctx.needs_input_grad[2]:
            grad_b = grad_rows.sum(0).to(ctx.w_dtype)  # summed in fp32 inside; a sum into fp32 costs 4 times as much
        return grad_x, grad_w, grad_b, None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: Elementwise = "none") -> Tensor:
    """Compute x W^T + b: x (..., K), weight (M, K), bias (M,) -> (..., M) in `compute_dtype(weight)`, activated."""
    if x.device.type != "cpu":
        return _activated(F.linear(x.to(compute_dtype(weight)), weight, bias), activation)
    if not torch.is_grad_enabled():  # an autograd.Function costs 15 us, which a step of decoding would pay 26 times
        return _on_padded_rows(x, weight, bias, compute_dtype(weight), activation)[0]
    return _activated(_RowPaddedLinear.apply(x, weight, bias, compute_dtype(weight)), activation)


@dataclass(frozen=True, slots=True, eq=False)
class PackedWeight:
    """A weight (M, K) as `pack` lays it out, with its bias: what inference on the CPU multiplies by.

    It may join the weights of several parts of a model. Where it is one part's own, it spares a step of decoding two
    of torch's lookups of parameters, 0.6 us each, in each product.
    """

    weight: Tensor
    bias: Tensor | None
    """(M,)"""
    dtype: torch.dtype

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> "PackedWeight | None":
        """Lay a weight out; None where this cannot be done."""
        packed = pack(weight.detach(), MIN_ROWS)
        return None if packed is None else cls(packed, None if bias is None else bias.detach(), weight.dtype)

    def multiply(self, x: Tensor, activation: Elementwise = "none") -> Tensor:
        """x (..., K) -> (..., M) in `dtype`, activated; without a gradient."""
        assert _ONEDNN_LINEAR is not None, "`pack` has laid the weight out for it"
        rows = with_padded_rows(x, self.dtype)
        y: Tensor = _ONEDNN_LINEAR(rows, self.weight, self.bias, activation, [], _EXACT)
        return y if rows.shape == x.shape else y[: x.shape[:-1].numel()].view(*x.shape[:-1], y.size(1))


class Packable(nn.Module):
    """What multiplies by weights that can be laid out for inference, those of its parts included."""

    packed: PackedWeight | None = None

    def pack(self) -> None:
        """Lay the weights out for inference as they are now: changes of them are not seen until it is called again."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what oneDNN has laid out, which cannot be copied: copies multiply by the weights themselves."""
        return {name: value for name, value in self.__dict__.items() if name != "packed"}


class PackableLinear(Packable):
    """A product with a weight (M, K), and perhaps a bias (M,)."""

    weight: Tensor
    bias: Any
    """A parameter (M,), or None."""

    def pack(self) -> None:
        """Lay the weight out for inference as it is now; a row's result stays the same, bit for bit."""
        self.packed = PackedWeight.of(self.weight, self.bias)

    def multiply(self, x: Tensor, activation: Elementwise = "none") -> Tensor:
        """x (..., K) -> (..., M) in `compute_dtype(weight)`, or in the dtype of what is packed; activated."""
        if self.packed is not None and x.is_cpu and not torch.is_grad_enabled():
            return self.packed.multiply(x, activation)
        return linear(x, self.weight, self.bias, activation)


class Linear(PackableLinear, nn.Linear):
    """`torch.nn.Linear` through `linear`."""

    def forward(self, x: Tensor, activation: Elementwise = "none") -> Tensor:
        """x (..., in_features) -> (..., out_features)."""
        return self.multiply(x, activation)
