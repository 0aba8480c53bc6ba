"""Products with a weight: oneDNN's operator, packed weights for inference, rows that do not depend on each other.

Without a gradient the rows of the input are padded up to one of a closed list of sizes: a product of very few rows
takes another code path in oneDNN and MKL, and with at least `MIN_ROWS` a row's result does not depend on the other
rows. With a gradient, padding also spares oneDNN from building a kernel for each new shape (0.5 ms each).

Shapes: R rows, K inputs, N outputs.
"""

import os
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.cpu.autograd import refuse_second_derivative

_CPU = torch.cpu.get_capabilities()
# In oneDNN 3.10, which torch 2.11 has, a row's fp32 result depends on the number of rows.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and torch.__version__ >= "2.13" and _CPU.get("avx2", False)
_ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _HAS_ONEDNN else None
_ONEDNN_PACK = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None) if _HAS_ONEDNN else None
# Without AVX-512 gradients of weights take 1.5 times as long as with `F.linear`, which calls MKL.
_TRAINS_WITH_ONEDNN = _ONEDNN_LINEAR is not None and _CPU.get("avx512_f", False)
_ONEDNN_HAS_BF16 = _ONEDNN_LINEAR is not None and _CPU.get("avx512_bf16", False)
_PACKED_DTYPES = (torch.float32, torch.bfloat16) if _ONEDNN_HAS_BF16 else (torch.float32,)

ONEDNN_MIN_ROWS = 2
"""oneDNN takes another code path for a single row."""
MIN_ROWS = ONEDNN_MIN_ROWS if _ONEDNN_HAS_BF16 else 16
"""MKL takes another code path for fewer than 16 rows."""


def padded_rows(rows: int, least: int = MIN_ROWS) -> int:
    """Round up: to a power of two below 16 rows, to a multiple of 16, from 128 on of 1/8 of the power of two below."""
    if rows < 16:
        return max(least, 1 << (rows - 1).bit_length())
    step = max(16, 1 << (rows.bit_length() - 4))
    return -(-rows // step) * step


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b for x (R, K) and weight (N, K) of one dtype, either of which may be transposed; no gradient.

    oneDNN's operator is private to torch, so `F.linear` must do where a version lacks it. In fp32 it takes half the
    time of `F.linear`, which calls MKL; in bf16 it adds the bias as it writes, where `F.linear` fills the result with
    the bias first. In bf16 without a bias it is slower.
    """
    is_faster = x.dtype == torch.float32 or (bias is not None and x.dtype == torch.bfloat16 and _ONEDNN_HAS_BF16)
    if is_faster and x.is_cpu and _TRAINS_WITH_ONEDNN and _ONEDNN_LINEAR is not None:
        y: Tensor = _ONEDNN_LINEAR(x, weight, bias, "none", [], "")
        return y
    return x @ weight.t() if bias is None else F.linear(x, weight, bias)


def with_padded_rows(x: Tensor, dtype: torch.dtype, least: int = MIN_ROWS) -> Tensor:
    """Copy x (..., K) to (R, K) in `dtype`, with rows of zeros up to `padded_rows`; x itself where nothing changes."""
    if x.dim() != 2:
        x = x.reshape(-1, x.shape[-1])
    rows = x.shape[0]
    if x.stride(0) < x.shape[1] and x.stride(1) < rows:  # elements overlap, as in windows of a signal
        x = x.contiguous()
    size = padded_rows(rows, least)
    if size == rows:
        return x if x.dtype == dtype else x.to(dtype)
    padded = x.new_empty(size, x.shape[1], dtype=dtype)
    padded[:rows] = x
    padded[rows:] = 0
    return padded


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Compute x W^T + b in `dtype`: x (..., K), weight (N, K), bias (N,) -> (..., N)."""
    if not torch.is_grad_enabled():  # an autograd.Function costs 15 us, which a step of decoding would pay 26 times
        return _without_gradient(x, weight, bias, dtype)
    unpack(weight)
    if _TRAINS_WITH_ONEDNN and dtype in _PACKED_DTYPES:
        y: Tensor = _OneDnnLinear.apply(x, weight, bias, dtype)
        return y
    return F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))


def _without_gradient(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    bias = None if bias is None else bias.to(dtype)
    packed = _packed(weight)
    if packed is not None and packed.dtype == dtype:
        rows = with_padded_rows(x, dtype, ONEDNN_MIN_ROWS)
        y = _ONEDNN_LINEAR(rows, packed.weight, bias, "none", [], "")  # type: ignore[misc]
    elif _ONEDNN_LINEAR is not None and dtype == torch.float32:
        rows = with_padded_rows(x, dtype, ONEDNN_MIN_ROWS)
        y = _ONEDNN_LINEAR(rows, weight.to(dtype), bias, "none", [], "")
    else:
        rows = with_padded_rows(x, dtype)
        y = product(rows, weight.to(dtype), bias)
    return y if rows.shape == x.shape else _first_rows(y, x.shape[:-1])


def _first_rows(y: Tensor, shape: torch.Size) -> Tensor:
    """Shape the first rows of y (R, N) to (*shape, N); no view for autograd, so that it may be changed in place."""
    found: Tensor = torch.ops.aten._unsafe_view(y[: shape.numel()], (*shape, y.size(1)))
    return found


class _OneDnnLinear(torch.autograd.Function):
    """y = x W^T + b in `dtype` on padded rows, where autograd has no formula for oneDNN's operator."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        rows, w = with_padded_rows(x, dtype), weight.to(dtype)
        ctx.save_for_backward(rows, w)
        ctx.x_shape, ctx.dtypes = x.shape, (x.dtype, weight.dtype)
        return _first_rows(product(rows, w, None if bias is None else bias.to(dtype)), x.shape[:-1])

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (rows, w), (x_dtype, w_dtype) = ctx.saved_tensors, ctx.dtypes
        grad_rows = with_padded_rows(grads[0], w.dtype)
        grad_x = grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_x = product(grad_rows, w.t())[: ctx.x_shape[:-1].numel()].view(ctx.x_shape).to(x_dtype)
        if ctx.needs_input_grad[1]:
            grad_w = product(grad_rows.t(), rows.t()).to(w_dtype)
        if ctx.needs_input_grad[2]:
            grad_b = grad_rows.sum(0).to(w_dtype)  # summed in fp32 inside; a sum into fp32 takes 4 times as long
        return grad_x, grad_w, grad_b, None


def packed_for(weight: Tensor, rows: int) -> Tensor | None:
    """Lay a weight (N, K) out as oneDNN multiplies about so many rows by it; None where it does not multiply.

    Else it does so at each call, which takes as long as the product with 32 rows.
    """
    if not _TRAINS_WITH_ONEDNN or _ONEDNN_PACK is None or weight.dtype not in _PACKED_DTYPES:
        return None
    packed: Tensor = _ONEDNN_PACK(weight, rows)
    return packed


class _Packed(NamedTuple):
    """A weight as oneDNN multiplies by it, beside what it was made of."""

    weight: Tensor
    dtype: torch.dtype
    source: Tensor
    """The weight itself: while it is kept, no other tensor can have its address."""
    version: int

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave it out of copies and pickles, which oneDNN's layout cannot be part of: None stands there."""
        return type(None), ()


def pack(weight: Tensor) -> None:
    """Keep a weight (N, K) beside itself as inference multiplies by it, until it changes; no bit of a result does.

    Changes are seen that torch counts, and assignments. It does not count what fused optimizers change, so that a use
    with a gradient forgets the packed weight (`unpack`), nor what is written through `weight.data` or NumPy: pack anew
    after that. A tensor that was made under `inference_mode` counts no change at all: it is not packed.
    """
    if _ONEDNN_PACK is None or weight.dtype not in _PACKED_DTYPES or weight.is_inference():
        return
    source = weight.detach()
    packed = _Packed(_ONEDNN_PACK(source, MIN_ROWS), weight.dtype, source, weight._version)
    weight._seqlab_packed = packed  # type: ignore[attr-defined]


def unpack(weight: Tensor) -> None:
    """Forget what `pack` has kept."""
    if hasattr(weight, "_seqlab_packed"):
        del weight._seqlab_packed


def _packed(weight: Tensor) -> _Packed | None:
    packed: _Packed | None = getattr(weight, "_seqlab_packed", None)
    if packed is None or weight.data_ptr() != packed.source.data_ptr() or weight._version != packed.version:
        return None
    return packed if weight.shape == packed.source.shape and weight.dtype == packed.dtype else None


MKL_VARIABLE = "MKL_CBWR"
"""What MKL reads at its first call (conditional numerical reproducibility, oneMKL Developer Guide)."""


def make_repeatable() -> None:
    """Ask MKL for its strict mode on Intel processors, unless the environment says what it is to do.

    Without it a product of small matrices, as in attention, has other last bits there with other batches and numbers of
    threads, so that answers would depend on the batch; it costs 5% of such a product, and of training Multi30k's
    translator in fp32. Other processors get kernels that have no such choice. It comes too late where a program has
    multiplied before it trains or loads a model.
    """
    cpu = torch.cpu.get_capabilities()
    if "Intel" in cpu.get("cpu_name", "") and cpu.get("avx2", False):
        os.environ.setdefault(MKL_VARIABLE, "AVX512,STRICT" if cpu.get("avx512_f", False) else "AVX2,STRICT")
