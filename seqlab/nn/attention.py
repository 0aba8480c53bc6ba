"""Multi-head attention, its cache, and the choice of the kernel that computes it.

Shapes: B batch, T queries, S keys, H heads, E = head_dim.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import explicit_attention as explicit
from seqlab.nn import masks
from seqlab.nn.causal_attention import MIN_LENGTH, causal_attention
from seqlab.nn.linear import Linear
from seqlab.nn.positions import RotaryPositions

STEPS_AHEAD = 16
"""Decoding steps that a cache grows by."""


def pad_positions(x: Tensor, head_dim: int) -> Tensor:
    """Append zero positions to x (B, S, D) so that attention's answers do not depend on how far a batch is padded.

    Two things in `explicit_attention` depend on the number of keys on the CPU: the order in which a softmax over fewer
    than 16 is summed, and the kernels that compute small products (torch's own below 400 multiplications, MKL's by the
    remainder of the size). With a multiple of 16 keys, and 512 multiplications for a single query, neither does.
    """
    multiple = max(16, 1 << (511 // head_dim).bit_length())
    return F.pad(x, (0, 0, 0, -x.size(1) % multiple))


def split_heads(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """(B, T, parts * D) -> `parts` tensors (B, H, T, E); in fp32 on the CPU, for `explicit_attention`."""
    if x.device.type == "cpu":
        return explicit.split_heads(x, parts, num_heads)
    return x.view(*x.shape[:2], parts, num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class KeyValueCache:
    """Keys and values of all that was read so far, (B, H, capacity, E), written in place (under inference_mode).

    The hypotheses of a sentence share a row: each step appends one entry for each of them, and which entries are a
    hypothesis's own past is for a mask to say. So nothing is copied when a search reorders hypotheses.
    """

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.length = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add entries (B, H, K, E) and return all keys and values so far (B, H, length, E)."""
        start, end = self.length, self.length + key.size(2)
        if self.keys is None or self.values is None:
            self.keys, self.values = (_enlarged(part[:, :, :0], key.size(2)) for part in (key, value))
        elif end > self.keys.size(2):
            self.keys = _enlarged(self.keys, key.size(2))
            self.values = _enlarged(self.values, key.size(2))
        self.keys[:, :, start:end] = key
        self.values[:, :, start:end] = value
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep, reorder and repeat rows (B',) int64; only the positions in use are copied."""
        if self.keys is not None and self.values is not None:
            self.keys = _selected(self.keys, rows, self.length)
            self.values = _selected(self.values, rows, self.length)

    def fork(self) -> "KeyValueCache":
        """Copy, so that changes to one leave the other alone."""
        copy = KeyValueCache()
        copy.keys = None if self.keys is None else self.keys.clone()
        copy.values = None if self.values is None else self.values.clone()
        copy.length = self.length
        return copy


def _enlarged(entries: Tensor, per_step: int) -> Tensor:
    """Copy entries (B, H, L, E) to memory for `STEPS_AHEAD` more steps; twice as many would be half of them unused."""
    batch, heads, length, head_dim = entries.shape
    larger = entries.new_empty(batch, heads, length + STEPS_AHEAD * per_step, head_dim)
    larger[:, :, :length] = entries
    return larger


def _selected(entries: Tensor, rows: Tensor, length: int) -> Tensor:
    selected = entries.new_empty(rows.numel(), *entries.shape[1:])
    torch.index_select(entries[:, :, :length], 0, rows, out=selected[:, :, :length])
    return selected


class SelfAttention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, rotary: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.project_in = Linear(d_model, 3 * d_model)
        self.project_out = Linear(d_model, d_model)
        self.rotary = RotaryPositions(d_model // num_heads) if rotary else None

    def forward(
        self, x: Tensor, bias: Tensor | None = None, is_causal: bool = False, cache: KeyValueCache | None = None
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D). `bias` is additive and broadcasts to (B, H, T, T).

        An empty `cache` is filled with the keys and values, for steps to go on from.
        """
        projected = self.project_in(x)
        if is_causal and cache is None and self._trains_on_long_texts(projected):
            angles = None if self.rotary is None else self.rotary.angles(0, x.size(1))
            return self.project_out(causal_attention(projected, self.num_heads, angles))
        query, key, value = split_heads(projected, 3, self.num_heads)
        if self.rotary is not None:
            query, key = self.rotary(query), self.rotary(key)
        if cache is not None:
            cache.append(key, value)
        dropout_p = self.dropout if self.training else 0.0
        merged, _ = attend(query, key, value, bias, is_causal, dropout_p, projected.dtype)
        return self.project_out(merged)

    def _trains_on_long_texts(self, projected: Tensor) -> bool:
        """Tell whether `causal_attention` is what computes this: in bf16, with a gradient, on the CPU."""
        is_long = projected.size(1) >= MIN_LENGTH and projected.dtype == torch.bfloat16
        return is_long and projected.device.type == "cpu" and torch.is_grad_enabled() and self.dropout == 0

    def step(self, x: Tensor, bias: Tensor | None, cache: KeyValueCache, position: int) -> Tensor:
        """Read the next symbol of K hypotheses of each sentence: x (B, K, D) -> (B, K, D).

        `bias` (B, 1, K, L) tells which of the cache's L entries, those of this step counted, a hypothesis goes back to.
        """
        projected = self.project_in(x)
        query, key, value = split_heads(projected, 3, self.num_heads)
        if self.rotary is not None:
            query, key = (self.rotary(part[..., None, :], position).squeeze(-2) for part in (query, key))
        key, value = cache.append(key, value)
        merged, _ = attend(query, key, value, bias, False, 0.0, projected.dtype)
        return self.project_out(merged)


class CrossAttention(nn.Module):
    """Multi-head attention from the decoder to the encoder's memory."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.project_query = Linear(d_model, d_model)
        self.project_memory = Linear(d_model, 2 * d_model)
        self.project_out = Linear(d_model, d_model)

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory (B, S, D) -> keys and values (B, H, S, E): computed once for all decoding steps."""
        key, value = split_heads(self.project_memory(memory), 2, self.num_heads)
        return key, value

    def forward(
        self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D) -> (B, T, D) and, where asked for, the weights averaged over heads (B, T, S)."""
        projected = self.project_query(x)
        (query,) = split_heads(projected, 1, self.num_heads)
        dropout_p = self.dropout if self.training else 0.0
        merged, weights = attend(query, key, value, bias, False, dropout_p, projected.dtype, need_weights)
        return self.project_out(merged), None if weights is None else weights.mean(1)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    is_causal: bool,
    dropout_p: float,
    dtype: torch.dtype,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Choose the kernel: explicit products on the CPU or when the weights are asked for, else torch's fused one.

    `bias` is added to the scores (see `masks.additive`). Returns the merged heads (B, T, D) in `dtype` and, where asked
    for, the weights (B, H, T, S).
    """
    assert not (is_causal and bias is not None), "a bias says by itself what may be attended to"
    if query.device.type != "cpu" and not need_weights:
        mask = None if bias is None else bias.to(query.dtype)
        fused = F.scaled_dot_product_attention(query, key, value, mask, dropout_p, is_causal)
        return fused.transpose(1, 2).flatten(2).to(dtype), None
    if is_causal:
        bias = masks.additive(masks.causal(query.size(2), query.device))
    merged, weights = explicit.explicit_attention(query.float(), key.float(), value.float(), bias, dropout_p, dtype)
    return merged, weights if need_weights else None
