"""Attention as two products and a softmax with the backward pass written out: what the CPU computes attention with.

For sentences this is the fast way on a CPU: at 16 to 32 positions the fused kernel's forward and backward pass cost
five times as much, and bf16 products of small matrices build a kernel for each new shape where fp32 ones do not. All
is in fp32; written out, splitting and merging heads are one copy each, in both directions.

Shapes: B batch, T queries, S keys, H heads, E = head_dim, D = H * E.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.dropout import keep_mask_for
from seqlab.nn.first_order import first_order

MIN_SOFTMAX_WIDTH = 16
"""A softmax over fewer keys leaves torch's vector code: 350 us instead of 45 for 48,000 scores of 12 keys each."""

WHOLE_VECTORS = 4
"""MKL's products depend on where in memory a row begins, which a head's place in the batch decides, unless a head has a
multiple of so many values."""


def contiguous_fp32(x: Tensor) -> Tensor:
    """Convert; `to` alone leaves fp32 as it is, so that products would see other strides in a batch of one."""
    return x.contiguous() if x.dtype == torch.float32 else x.to(torch.float32, memory_format=torch.contiguous_format)


def by_head(x: Tensor, parts: int, num_heads: int) -> Tensor:
    """(B, T, parts * D) -> (parts, B, H, T, E), not a copy."""
    return x.view(*x.shape[:2], parts, num_heads, -1).permute(2, 0, 3, 1, 4)


def _split(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    return contiguous_fp32(by_head(x, parts, num_heads)).unbind(0)


def _merge(heads: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """(B * H, T, E) -> (B, T, D) in `dtype`, where `shape` is (B, H, T, E)."""
    if shape[2] == 1:
        return heads.view(shape[0], 1, shape[1] * shape[3]).to(dtype)
    return heads.view(shape).transpose(1, 2).to(dtype, memory_format=torch.contiguous_format).flatten(2)


class _SplitHeads(torch.autograd.Function):
    """(B, T, parts * D) -> `parts` tensors (B, H, T, E) in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.x_shape, ctx.x_dtype = x.shape, x.dtype
        return _split(x, parts, num_heads)

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad_x = next(g for g in grads if g is not None).new_empty(ctx.x_shape, dtype=ctx.x_dtype)
        parts = grad_x.view(*ctx.x_shape[:2], len(grads), -1)  # (B, T, parts, D)
        for i, grad in enumerate(grads):
            if grad is None:
                parts[:, :, i] = 0
            else:
                parts[:, :, i].view(*grad.transpose(1, 2).shape).copy_(grad.transpose(1, 2))
        return grad_x, None, None


class _ExplicitAttention(torch.autograd.Function):
    """Heads of queries, keys and values -> (B, T, D) in `dtype`, and the attention weights (B, H, T, S)."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        dropout_p: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        weights = _weights(query, key, bias)
        keep = keep_mask_for(weights, dropout_p) if dropout_p > 0 else None
        dropped = weights if keep is None else weights * keep
        heads = dropped.flatten(0, 1) @ value.flatten(0, 1)
        ctx.save_for_backward(query, key, value, weights, dropped, keep)
        return _merge(heads, query.shape, dtype), weights

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        query, key, value, weights, dropped, keep = ctx.saved_tensors
        grad_merged, grad_weights = grads
        grad_value = None
        if grad_merged is not None:
            batch, heads, length, head_dim = query.shape
            grad_heads = grad_merged.view(batch, length, heads, head_dim).transpose(1, 2)
            grad_heads = grad_heads.to(torch.float32, memory_format=torch.contiguous_format).contiguous().flatten(0, 1)
            grad_value = (dropped.flatten(0, 1).transpose(1, 2) @ grad_heads).view_as(value)
            from_heads = (grad_heads @ value.flatten(0, 1).transpose(1, 2)).view_as(weights)
            if keep is not None:
                from_heads *= keep
            grad_weights = from_heads if grad_weights is None else from_heads + grad_weights
        assert grad_weights is not None, "a backward pass starts from an output"
        weighted = grad_weights * weights
        grad_scores = torch.addcmul(weighted, weights, weighted.sum(-1, keepdim=True), value=-1)
        grad_scores = grad_scores.mul_(query.size(-1) ** -0.5).flatten(0, 1)
        grad_query = (grad_scores @ key.flatten(0, 1)).view_as(query)
        grad_key = (grad_scores.transpose(1, 2) @ query.flatten(0, 1)).view_as(key)
        return grad_query, grad_key, grad_value, None, None, None


def _weights(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """Give the softmax of the scaled and biased scores: (B, H, T, S)."""
    shape = (*query.shape[:3], key.size(2))
    scores = query.new_empty(shape) if bias is None else bias.expand(shape).clone(memory_format=torch.contiguous_format)
    scores.flatten(0, 1).baddbmm_(
        query.flatten(0, 1),
        key.flatten(0, 1).transpose(1, 2),
        beta=0 if bias is None else 1,
        alpha=query.size(-1) ** -0.5,
    )
    return softmax(scores)


def softmax(scores: Tensor) -> Tensor:
    """Normalise scores (..., S)."""
    missing = MIN_SOFTMAX_WIDTH - scores.size(-1)
    if missing <= 0:
        return torch.softmax(scores, dim=-1)
    return torch.softmax(F.pad(scores, (0, missing), value=float("-inf")), dim=-1)[..., :-missing].contiguous()


def batched_product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply a (B, T, K) by b (B, K, S): (B, T, S). Without a gradient, other rows change nothing."""
    if len(a) == 1 and not torch.is_grad_enabled():  # a lone product takes another path in torch, with other last bits
        return torch.bmm(a.expand(2, -1, -1), b.expand(2, -1, -1))[:1]
    return torch.bmm(a, b)


def split_heads(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """(B, T, parts * D) -> `parts` tensors (B, H, T, E) in fp32, contiguous."""
    if not torch.is_grad_enabled():
        return _split(x, parts, num_heads)
    heads: tuple[Tensor, ...] = _SplitHeads.apply(x, parts, num_heads)
    return heads


def explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout_p: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Attend from query (B, H, T, E) to key and value (B, H, S, E), all fp32.

    `bias` broadcasts to (B, H, T, S) and is added to the scores. Returns the merged heads (B, T, D) in `dtype` and the
    weights (B, H, T, S), from before dropout; both are differentiable. The last bits of a row depend on whether
    there is a bias, never on the other rows.
    """
    if torch.is_autocast_enabled(query.device.type):
        with torch.autocast(query.device.type, enabled=False):
            return explicit_attention(query, key, value, bias, dropout_p, dtype)
    if torch.is_grad_enabled() or dropout_p > 0:
        merged, weights = _ExplicitAttention.apply(query, key, value, bias, dropout_p, dtype)
        return merged, weights
    if query.size(0) * query.size(1) == 1:  # a lone product takes another path in torch, with other last bits
        query, key, value = (part.expand(2, -1, -1, -1).contiguous() for part in (query, key, value))
        merged, weights = explicit_attention(query, key, value, bias, dropout_p, dtype)
        return merged[:1], weights[:1]
    missing = -query.size(-1) % WHOLE_VECTORS
    if missing:
        return _in_whole_vectors(query, key, value, bias, dtype, missing)
    if query.size(2) == 1 and bias is None:
        return _attend_from_one(query, key, value, dtype)
    weights = _weights(query, key, bias)
    return _merge(torch.bmm(weights.flatten(0, 1), value.flatten(0, 1)), query.shape, dtype), weights


def _in_whole_vectors(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dtype: torch.dtype, missing: int
) -> tuple[Tensor, Tensor]:
    """Do what `explicit_attention` does without a gradient, with zeros appended to every head."""
    head_dim = query.size(-1)
    scaled = query * (1 + missing / head_dim) ** 0.5  # as the scores are divided by the root of the larger size
    query, key, value = (F.pad(part, (0, missing)) for part in (scaled, key, value))
    merged, weights = explicit_attention(query, key, value, bias, 0.0, dtype)
    return merged.unflatten(2, (query.size(1), -1))[..., :head_dim].flatten(2), weights


def _attend_from_one(query: Tensor, key: Tensor, value: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Do what `explicit_attention` does for a single query and no bias, without a gradient.

    What it takes is the time to read keys and values. Keys times query are read faster than query times keys, and the
    mean of values out of a cache that has room left faster by a sum than by MKL: 64 rows of 256 positions are generated
    1.09 times as fast.
    """
    batch, heads, keys, head_dim = key.shape
    scaled = (query * head_dim**-0.5).flatten(0, 1).transpose(1, 2)  # viewed as a column, MKL takes 6 times as long
    weights = softmax(torch.bmm(key.flatten(0, 1), scaled).view(batch, heads, keys))
    merged = (value * weights.unsqueeze(3)).sum(dim=2).view(batch, 1, heads * head_dim)
    return merged.to(dtype), weights.unsqueeze(2)
