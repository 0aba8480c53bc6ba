"""Attention for the CPU: two products and a softmax in fp32, or causal blocks in bf16 for long contexts.

At the lengths of sentences, fp32 is faster than torch's fused kernel, which takes five times as long at 16 to 32
positions, and faster than bf16, which builds a kernel for each new shape. With gradients disabled, a row's result does
not depend on the other rows or on padding, bit for bit.

Shapes: B batch, T queries, S keys, H heads, E = head_dim, D = H * E.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.cpu.autograd import refuse_second_derivative
from seqlab.nn.cpu.elementwise import dropout

MIN_SOFTMAX_WIDTH = 16
"""Number of keys from which torch vectorizes the softmax. 48,000 rows of 12 keys take 350 us, padded to this 45 us."""
HEAD_DIM_MULTIPLE = 4
"""`head_dim` is padded to a multiple of this; otherwise a row's alignment in memory, which depends on its index in the
batch, changes the rounding of MKL's matrix products."""
MIN_BLOCKWISE_LENGTH = 64
"""Number of positions from which causal blocks in bf16 are faster than fp32."""
QUERIES_PER_BLOCK = 128
"""Queries per block: larger blocks compute more masked scores, smaller ones need more calls."""
MAX_CACHED_SCORES = 1 << 20
"""Scores computed at once: as many as fit into the processor's cache in fp32 and bf16."""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    is_causal: bool,
    dropout_p: float,
    need_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """Attend from query (B, H, T, E) to key and value (B, H, S, E); `bias` broadcasts to (B, H, T, S).

    Returns the merged heads (B, T, D) in the dtype of `value`, and the weights (B, H, T, S) before dropout. Without
    `need_weights` they may be None.
    """
    with torch.autocast("cpu", enabled=False):
        if not torch.is_grad_enabled() and dropout_p == 0:
            return _batch_invariant_attention(query, key, value, bias, is_causal)
        is_long = query.size(2) >= MIN_BLOCKWISE_LENGTH and value.dtype == torch.bfloat16
        if is_long and is_causal and dropout_p == 0 and not need_weights:
            return _merge_heads(_blockwise_causal_attention(query, key, value), value.dtype), None
        if is_causal:
            bias = _causal_bias(0, query.size(2), query.size(2))
        has_trained_bias = bias is not None and bias.requires_grad
        if dropout_p == 0 and not need_weights and not has_trained_bias:
            merged: Tensor = _Attention.apply(query, key, value, bias)
            return merged, None
        weights = _weights(contiguous_fp32(query), contiguous_fp32(key), bias)
        dropped = weights if dropout_p == 0 else dropout(weights, dropout_p)
        return _merge_heads(dropped @ contiguous_fp32(value), value.dtype), weights


class _Attention(torch.autograd.Function):
    """Attention in fp32 with a backward pass that reads memory less often: small Transformers train 1.04 times as fast.

    query (B, H, T, E), key and value (B, H, S, E), bias -> (B, T, D) in the dtype of the values.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = (contiguous_fp32(part) for part in (query, key, value))
        weights = _weights(q, k, bias)
        ctx.save_for_backward(q, k, v, weights)
        ctx.dtypes = query.dtype, key.dtype, value.dtype
        return _merge_heads(weights @ v, value.dtype)

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        grad = contiguous_fp32(grads[0].unflatten(2, (query.size(1), -1)).transpose(1, 2))
        with torch.autocast("cpu", enabled=False):
            grad_weights = grad @ value.transpose(2, 3)
            grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_scores.mul_(query.size(3) ** -0.5)
            grads_in = grad_scores @ key, grad_scores.transpose(2, 3) @ query, weights.transpose(2, 3) @ grad
        return *(tensor.to(dtype) for tensor, dtype in zip(grads_in, ctx.dtypes, strict=True)), None


def contiguous_fp32(x: Tensor) -> Tensor:
    """Convert to contiguous fp32, so that strides do not depend on the dtype or the batch size."""
    return x.contiguous() if x.dtype == torch.float32 else x.to(torch.float32, memory_format=torch.contiguous_format)


def _merge_heads(heads: Tensor, dtype: torch.dtype) -> Tensor:
    """Merge heads (B, H, T, E) to (B, T, D), in `dtype`."""
    return heads.transpose(1, 2).to(dtype, memory_format=torch.contiguous_format).flatten(2)


def _weights(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """Compute the softmax of the scaled and biased scores: (B, H, T, S)."""
    scores = (query * query.size(-1) ** -0.5) @ key.transpose(2, 3)
    return softmax(scores if bias is None else scores.add_(bias))


def softmax(scores: Tensor) -> Tensor:
    """Compute the softmax of scores (..., S) over S, padded to `MIN_SOFTMAX_WIDTH`."""
    missing = MIN_SOFTMAX_WIDTH - scores.size(-1)
    if missing <= 0:
        return torch.softmax(scores, dim=-1)
    return torch.softmax(F.pad(scores, (0, missing), value=float("-inf")), dim=-1)[..., :-missing].contiguous()


def _causal_bias(first: int, queries: int, keys: int) -> Tensor:
    """Make the causal bias of queries that start at position `first`: (queries, keys), -inf at later keys."""
    return torch.full((queries, keys), float("-inf")).triu_(first + 1)


def _blockwise_causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute causal attention in bf16, with the softmax in fp32: (B, H, T, E) each -> (B, H, T, E).

    For each block of queries, scores are computed only up to the block's last key, and they stay in the processor's
    cache between products. For 16 rows of 256 positions (4 heads of 64) this takes half the time of torch's fused
    kernel.
    """
    length, scale = query.size(2), query.size(3) ** -0.5
    q, k, v = (
        part.to(torch.bfloat16, memory_format=torch.contiguous_format).flatten(0, 1) for part in (query, key, value)
    )
    blocks = max(1, length // QUERIES_PER_BLOCK)
    borders = [round(length * i / blocks) for i in range(blocks + 1)]
    spans = list(pairwise(borders))
    masks = [_causal_bias(start, end - start, end) for start, end in spans]
    size = max(1, MAX_CACHED_SCORES // (length * -(-length // blocks)))
    heads = []
    for q_rows, k_rows, v_rows in zip(q.split(size), k.split(size), v.split(size), strict=True):
        blocks_of_rows = []
        for (start, end), mask in zip(spans, masks, strict=True):
            scores = torch.bmm(q_rows[:, start:end], k_rows[:, :end].transpose(1, 2))
            weights = torch.softmax(torch.add(mask, scores, alpha=scale), dim=-1).to(torch.bfloat16)
            blocks_of_rows.append(torch.bmm(weights, v_rows[:, :end]))
        heads.append(torch.cat(blocks_of_rows, dim=1))
    return torch.cat(heads).view(query.shape)


def pad_positions(x: Tensor, head_dim: int) -> Tensor:
    """Append zero positions to x (..., S, E), so that attention does not depend on the padding of the batch.

    The number of keys affects the rounding in two ways. It determines the order of summation in a softmax over fewer
    than 16 keys. It also selects the kernel of a small product: below 400 multiplications that of torch, and above one
    of MKL's kernels, by the remainder of the size. Neither occurs with a multiple of 16 keys and at least 512
    multiplications for a single query.
    """
    multiple = max(16, 1 << (511 // head_dim).bit_length())
    missing = -x.size(-2) % multiple
    return F.pad(x, (0, 0, 0, missing)) if missing else x


def _batch_invariant_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Compute attention that does not depend on the batch, by padding positions: merged heads and weights."""
    queries, keys, head_dim = query.size(2), key.size(2), query.size(3)
    q, k, v = (pad_positions(contiguous_fp32(part), head_dim) for part in (query, key, value))
    if is_causal:
        bias = _causal_bias(0, q.size(2), k.size(2))
    else:
        bias = query.new_zeros(1, 1, 1, keys, dtype=torch.float32) if bias is None else bias
        bias = bias[(None,) * (4 - bias.dim())]
        bias = bias.expand(*bias.shape[:3], keys)
        bias = F.pad(bias, (0, k.size(2) - bias.size(3)), value=float("-inf"))
        if bias.size(2) > 1:
            bias = F.pad(bias, (0, 0, 0, q.size(2) - queries))
    heads, weights = _attend(q, k, v, bias)
    return _merge_heads(heads[:, :, :queries], value.dtype), weights[:, :, :queries, :keys]


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute attention in fp32, each head independent of the others: heads (B, H, T, E), weights (B, H, T, S)."""
    if query.size(0) * query.size(1) == 1:  # torch rounds a batch of one differently
        query, key, value = (part.expand(2, -1, -1, -1).contiguous() for part in (query, key, value))
        heads, weights = _attend(query, key, value, bias)
        return heads[:1], weights[:1]
    head_dim = query.size(-1)
    missing = -head_dim % HEAD_DIM_MULTIPLE
    if missing:  # scores are divided by the root of the padded size
        query = query * (1 + missing / head_dim) ** 0.5
        query, key, value = (F.pad(part, (0, missing)) for part in (query, key, value))
    weights = _weights(query, key, bias)
    return (weights @ value)[..., :head_dim], weights


def step_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attend from K hypotheses (B, H, K, E), all at one position, to a cache (B, H, L, E); without a gradient.

    L must not depend on the batch: it is padded by `pad_positions`, or follows from the position. Returns the merged
    heads (B, K, D) and the weights (B, H, K, L), in fp32.
    """
    with torch.autocast("cpu", enabled=False):
        query, key, value = (part.float() for part in (query, key, value))
        heads, weights = _attend(query.contiguous(), key, value, bias)
        return _merge_heads(heads, torch.float32), weights


def batched_product(a: Tensor, b: Tensor, is_step: bool) -> Tensor:
    """Multiply a (B, T, K) by b (B, K, S): (B, T, S); T may depend on the batch, unless `is_step`."""
    rows = a.size(1)
    a = a if is_step else F.pad(a, (0, 0, 0, -rows % 16))
    if len(a) == 1:  # torch rounds a batch of one differently
        return torch.bmm(a.expand(2, -1, -1), b.expand(2, -1, -1))[:1, :rows]
    return torch.bmm(a, b)[:, :rows]
