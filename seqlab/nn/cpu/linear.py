"""Linear products for the CPU through oneDNN, with packed weights for inference and batch-invariant results.

The number of rows is padded to one of a fixed set of sizes. With at least `MIN_ROWS` rows, a row's result does not
depend on the other rows; oneDNN and MKL compute products of fewer rows differently. In training, padding also saves
time: oneDNN builds a kernel for each new shape, which takes 0.5 ms.

Shapes: R rows, K inputs, N outputs.
"""

import os
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.cpu.autograd import refuse_second_derivative

_CPU = torch.cpu.get_capabilities()
# With oneDNN 3.10 (torch 2.11), a row's fp32 result depends on the number of rows.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and torch.__version__ >= "2.13" and _CPU.get("avx2", False)
_ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _HAS_ONEDNN else None
_ONEDNN_PACK = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None) if _HAS_ONEDNN else None
# Without AVX-512, oneDNN takes 1.5 times as long as MKL (`F.linear`) for gradients of weights.
_TRAINS_WITH_ONEDNN = _ONEDNN_LINEAR is not None and _CPU.get("avx512_f", False)
_ONEDNN_HAS_BF16 = _ONEDNN_LINEAR is not None and _CPU.get("avx512_bf16", False)
_PACKED_DTYPES = (torch.float32, torch.bfloat16) if _ONEDNN_HAS_BF16 else (torch.float32,)

ONEDNN_MIN_ROWS = 2
"""Minimum number of rows for oneDNN, which computes a single row differently."""
MIN_ROWS = ONEDNN_MIN_ROWS if _ONEDNN_HAS_BF16 else 16
"""Minimum number of rows of any product: 16 where MKL is used, which computes fewer rows differently."""


def padded_rows(rows: int, min_rows: int = MIN_ROWS) -> int:
    """Round the number of rows up to one of a fixed set of sizes, at least `min_rows`.

    Sizes up to 16 are powers of two, and sizes up to 128 multiples of 16. Larger sizes are multiples of 1/8 of the
    largest power of two that is at most `rows`.
    """
    if rows < 16:
        return max(min_rows, 1 << (rows - 1).bit_length())
    step = max(16, 1 << (rows.bit_length() - 4))
    return -(-rows // step) * step


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b without a gradient: x (R, K) and weight (N, K) of one dtype, contiguous or transposed.

    Uses oneDNN's operator if it is available and faster, otherwise `F.linear`. The operator is private to torch, and
    some versions lack it. In fp32 it takes half the time of `F.linear`, which calls MKL. In bf16 it is faster only with
    a bias: it adds the bias while writing the result, whereas `F.linear` first fills the result with the bias.
    """
    is_faster = x.dtype == torch.float32 or (bias is not None and x.dtype == torch.bfloat16 and _ONEDNN_HAS_BF16)
    if is_faster and x.is_cpu and _TRAINS_WITH_ONEDNN and _ONEDNN_LINEAR is not None:
        y: Tensor = _ONEDNN_LINEAR(x, weight, bias, "none", [], "")
        return y
    return x @ weight.t() if bias is None else F.linear(x, weight, bias)


def with_padded_rows(x: Tensor, dtype: torch.dtype, min_rows: int = MIN_ROWS) -> Tensor:
    """Reshape x (..., K) to (R, K) in `dtype` and append zero rows up to `padded_rows`; copies only if needed."""
    if x.dim() != 2:
        x = x.reshape(-1, x.shape[-1])
    rows = x.shape[0]
    if x.stride(0) < x.shape[1] and x.stride(1) < rows:  # overlapping elements, as in windows of a signal
        x = x.contiguous()
    size = padded_rows(rows, min_rows)
    if size == rows:
        return x if x.dtype == dtype else x.to(dtype)
    padded = x.new_empty(size, x.shape[1], dtype=dtype)
    padded[:rows] = x
    padded[rows:] = 0
    return padded


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Compute x W^T + b in `dtype`: x (..., K), weight (N, K), bias (N,) -> (..., N)."""
    if not torch.is_grad_enabled():  # an autograd.Function costs 15 us, 26 times per decoding step
        return _inference_linear(x, weight, bias, dtype)
    unpack(weight)
    if _TRAINS_WITH_ONEDNN and dtype in _PACKED_DTYPES:
        y: Tensor = _OneDnnLinear.apply(x, weight, bias, dtype)
        return y
    return F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))


def _inference_linear(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    bias = None if bias is None else bias.to(dtype)
    packed = _valid_packed(weight)
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
    """Reshape the first rows of y (R, N) to (*shape, N); autograd sees no view, so it may be changed in place."""
    rows: Tensor = torch.ops.aten._unsafe_view(y[: shape.numel()], (*shape, y.size(1)))
    return rows


class _OneDnnLinear(torch.autograd.Function):
    """y = x W^T + b in `dtype` on padded rows, with the backward pass that oneDNN's operator lacks."""

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
            grad_b = grad_rows.sum(0).to(w_dtype)  # accumulates in fp32; an fp32 output takes 4 times as long
        return grad_x, grad_w, grad_b, None


def packed_for(weight: Tensor, rows: int) -> Tensor | None:
    """Pack a weight (N, K) into oneDNN's layout for products with about `rows` rows; None if oneDNN is not used.

    oneDNN would otherwise pack it in each call, which takes as long as a product with 32 rows.
    """
    if not _TRAINS_WITH_ONEDNN or _ONEDNN_PACK is None or weight.dtype not in _PACKED_DTYPES:
        return None
    packed: Tensor = _ONEDNN_PACK(weight, rows)
    return packed


class _Packed(NamedTuple):
    """A weight in oneDNN's layout, with the weight that it was packed from."""

    weight: Tensor
    """The packed weight."""
    dtype: torch.dtype
    source: Tensor
    """The original weight; keeping it ensures that no other tensor gets its address."""
    version: int
    """Autograd's version counter of the original weight."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as None, because oneDNN's layout supports neither."""
        return type(None), ()


def pack(weight: Tensor) -> None:
    """Attach a packed copy to a weight (N, K) for inference; results do not change in any bit.

    The copy is ignored after the weight has changed, which its address and autograd's version counter show. Fused
    optimizers do not increase this counter, so `linear` calls `unpack` when gradients are enabled. Writes through
    `weight.data` or NumPy do not increase it either: call `pack` again after them. Tensors created under
    `inference_mode` have no version counter and are not packed.
    """
    if _ONEDNN_PACK is None or weight.dtype not in _PACKED_DTYPES or weight.is_inference():
        return
    source = weight.detach()
    packed = _Packed(_ONEDNN_PACK(source, MIN_ROWS), weight.dtype, source, weight._version)
    weight._seqlab_packed = packed  # type: ignore[attr-defined]


def unpack(weight: Tensor) -> None:
    """Remove the packed copy of a weight."""
    if hasattr(weight, "_seqlab_packed"):
        del weight._seqlab_packed


def _valid_packed(weight: Tensor) -> _Packed | None:
    packed: _Packed | None = getattr(weight, "_seqlab_packed", None)
    if packed is None or weight.data_ptr() != packed.source.data_ptr() or weight._version != packed.version:
        return None
    return packed if weight.shape == packed.source.shape and weight.dtype == packed.dtype else None


MKL_VARIABLE = "MKL_CBWR"
"""Environment variable for MKL's numerical reproducibility, read at its first call (oneMKL Developer Guide)."""


def make_repeatable() -> None:
    """Set MKL's strict reproducibility mode on Intel processors, unless the environment variable is set.

    Without it, the rounding of products of small matrices, as in attention, depends on the batch and the number of
    threads. The mode costs 5% of the time of such a product, and of training the Multi30k translator in fp32. MKL has
    no such mode for other processors. Setting it has no effect if the process has already computed a product.
    """
    cpu = torch.cpu.get_capabilities()
    if "Intel" in cpu.get("cpu_name", "") and cpu.get("avx2", False):
        os.environ.setdefault(MKL_VARIABLE, "AVX512,STRICT" if cpu.get("avx512_f", False) else "AVX2,STRICT")
