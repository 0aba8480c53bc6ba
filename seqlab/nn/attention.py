"""Multi-head attention, its cache, and the choice of the kernel that computes it.

Shapes: B batch, T queries, S keys, H heads, E = head_dim; while decoding as in `DecodingStep`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import explicit_attention as explicit
from seqlab.nn import masks
from seqlab.nn.causal_attention import MIN_LENGTH, causal_attention
from seqlab.nn.linear import Linear, pad_rows
from seqlab.nn.positions import RotaryPositions

MIN_ROOM = 16
"""Entries that a cache has room for at least when it grows, to twice what it holds if that is more."""


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
    return explicit.by_head(x, parts, num_heads).unbind(0)


@dataclass(frozen=True)
class DecodingStep:
    """What a step of decoding reads: the next symbol of K hypotheses of each of B sentences, all at one position.

    Their hidden states are N = B * K rows, with rows behind them that only pad (see `linear.pad_rows`): (P, D).
    """

    position: int
    sentences: int
    """B."""
    rows: int
    """N."""
    bias: Tensor | None
    """(B, 1, K, L): which of the cache's L entries, those of this step counted, a hypothesis goes back to; None: all.
    """

    def heads(self, x: Tensor, parts: int, num_heads: int) -> Tensor:
        """(P, parts * D) -> (parts, B, H, K, E), without a gradient; in fp32 on the CPU, for `explicit_attention`."""
        shape = (self.sentences, self.rows // self.sentences, parts, num_heads, -1)
        heads = x[: self.rows].view(shape).permute(2, 0, 3, 1, 4)
        return explicit.contiguous_fp32(heads) if x.is_cpu else heads


class KeyValueCache:
    """Keys and values of all that was read so far, (2, B, H, capacity, E), written in place (under inference_mode).

    The hypotheses of a sentence share a row: each step appends one entry for each of them, and which entries are a
    hypothesis's own past is for a mask to say. So nothing is copied when a search reorders hypotheses.
    """

    def __init__(self) -> None:
        self.entries: Tensor | None = None
        self.length = 0

    def append(self, entries: Tensor) -> Tensor:
        """Add keys and values (2, B, H, K, E) and return all so far (2, B, H, length, E)."""
        start, end = self.length, self.length + entries.size(3)
        if self.entries is None or end > self.entries.size(3):
            self.entries = self._copied(entries, end + max(MIN_ROOM, start))
        self.entries.narrow(3, start, end - start).copy_(entries)  # by an index it would take twice as long
        self.length = end
        return self.entries.narrow(3, 0, end)

    def select(self, rows: Tensor) -> None:
        """Keep, reorder and repeat rows (B',) int64; only the positions in use are copied."""
        if self.entries is not None:
            parts, _, *rest = self.entries.shape
            selected = self.entries.new_empty(parts, rows.numel(), *rest)
            torch.index_select(self.entries[:, :, :, : self.length], 1, rows, out=selected[:, :, :, : self.length])
            self.entries = selected

    def fork(self) -> "KeyValueCache":
        """Copy, so that changes to one leave the other alone."""
        copy = KeyValueCache()
        if self.entries is not None:
            copy.entries, copy.length = self._copied(self.entries, self.entries.size(3)), self.length
        return copy

    def _copied(self, like: Tensor, capacity: int) -> Tensor:
        """Copy the positions in use to new memory for `capacity` of them, of the other sizes of `like`."""
        parts, batch, heads, _, head_dim = like.shape
        copy = like.new_empty(parts, batch, heads, capacity, head_dim)
        if self.entries is not None:
            copy[:, :, :, : self.length] = self.entries[:, :, :, : self.length]
        return copy


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
            cache.append(torch.stack((key, value)))
        dropout_p = self.dropout if self.training else 0.0
        merged, _ = attend(query, key, value, bias, is_causal, dropout_p, projected.dtype)
        return self.project_out(merged)

    def _trains_on_long_texts(self, projected: Tensor) -> bool:
        """Tell whether `causal_attention` is what computes this: in bf16, with a gradient, on the CPU."""
        is_long = projected.size(1) >= MIN_LENGTH and projected.dtype == torch.bfloat16
        return is_long and projected.device.type == "cpu" and torch.is_grad_enabled() and self.dropout == 0

    def step(self, x: Tensor, cache: KeyValueCache, at: DecodingStep) -> Tensor:
        """Read the next symbol of each hypothesis: x (P, D) -> (P, D)."""
        projected = self.project_in(x)
        heads = at.heads(projected, 3, self.num_heads)
        if self.rotary is not None:
            self.rotary.rotate_at_(at.position, heads[:2])
        key, value = cache.append(heads[1:]).unbind(0)
        merged, _ = attend(heads[0], key, value, at.bias, False, 0.0, projected.dtype)
        return self.project_out(pad_rows(merged.flatten(0, 1)))


class CrossAttention(nn.Module):
    """Multi-head attention from the decoder to the encoder's memory."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, rotary: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.rotary = RotaryPositions(d_model // num_heads) if rotary else None
        self.project_query = Linear(d_model, d_model)
        self.project_memory = Linear(d_model, 2 * d_model)
        self.project_out = Linear(d_model, d_model)

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory (B, S, D) -> keys and values (B, H, S, E): computed once for all decoding steps."""
        key, value = split_heads(self.project_memory(memory), 2, self.num_heads)
        return key if self.rotary is None else self.rotary(key), value

    def forward(
        self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D) -> (B, T, D) and, where asked for, the weights averaged over heads (B, T, S)."""
        projected = self.project_query(x)
        (query,) = split_heads(projected, 1, self.num_heads)
        if self.rotary is not None:
            query = self.rotary(query)
        dropout_p = self.dropout if self.training else 0.0
        merged, weights = attend(query, key, value, bias, False, dropout_p, projected.dtype, need_weights)
        return self.project_out(merged), None if weights is None else weights.mean(1)

    def step(
        self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, at: DecodingStep, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Read the next symbol of each hypothesis: x (P, D) -> (P, D) and, where asked for, the weights (B, K, S)."""
        projected = self.project_query(x)
        heads = at.heads(projected, 1, self.num_heads)
        if self.rotary is not None:
            self.rotary.rotate_at_(at.position, heads)
        (query,) = heads
        merged, weights = attend(query, key, value, bias, False, 0.0, projected.dtype, need_weights)
        return self.project_out(pad_rows(merged.flatten(0, 1))), None if weights is None else weights.mean(1)


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
    if query.dtype != torch.float32:
        query, key, value = query.float(), key.float(), value.float()
    merged, weights = explicit.explicit_attention(query, key, value, bias, dropout_p, dtype)
    return merged, weights if need_weights else None
