"""Multi-head self-attention and cross-attention.

Shapes: B batch, T queries, S keys, H heads, E = head_dim; for decoding steps see `DecodingStep`.
"""

from typing import NamedTuple

from torch import Tensor, nn

from seqlab.nn import kernels
from seqlab.nn.embedding import RotaryPositions
from seqlab.nn.kv_cache import DecodingStep, KeyValueCache
from seqlab.nn.layers import Linear


def split_heads(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Split x (B, T, parts * D) into `parts` projections by head: views (B, H, T, E)."""
    return x.view(*x.shape[:2], parts, num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, rotary: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.project_in = Linear(d_model, 3 * d_model, parts=3)
        self.project_out = Linear(d_model, d_model)
        self.rotary = RotaryPositions(d_model // num_heads) if rotary else None

    def forward(
        self, x: Tensor, bias: Tensor | None = None, is_causal: bool = False, cache: KeyValueCache | None = None
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D). `bias` is additive and broadcasts to (B, H, T, T).

        The keys and values are appended to an empty `cache`, from which `step` continues.
        """
        query, key, value = split_heads(self.project_in(x), 3, self.num_heads)  # (B, H, T, E) each
        if self.rotary is not None:
            query, key = self.rotary(query), self.rotary(key)
        if cache is not None:
            cache.append(key, value)
        dropout_p = self.dropout if self.training else 0.0
        merged, _ = kernels.attention(query, key, value, bias, is_causal, dropout_p)  # (B, T, D)
        return self.project_out(merged)

    def step(self, x: Tensor, cache: KeyValueCache, at: DecodingStep) -> Tensor:
        """Process the next token of each hypothesis: x (N, D) -> (N, D)."""
        query, key, value = at.split_heads(self.project_in(x), 3, self.num_heads)  # (B, H, K, E) each
        if self.rotary is not None:
            query, key = self.rotary(query, at.position), self.rotary(key, at.position)
        keys, values = cache.append(key, value)
        merged, _ = kernels.step_attention(query, keys, values, at.bias)
        return self.project_out(merged.flatten(0, 1))


class LayerMemory(NamedTuple):
    """Projected encoder keys and values of one decoder layer.

    S' is S on a GPU, and where gradients are enabled. Otherwise it is S as padded by `kernels.prepare_keys`.
    """

    key: Tensor
    """(B, H, S', E)"""
    value: Tensor
    """(B, H, S', E)"""
    bias: Tensor
    """(B, 1, 1, S'), added to the attention scores: -inf at padding."""


class CrossAttention(nn.Module):
    """Multi-head attention from the decoder to the encoder's memory."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, rotary: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.rotary = RotaryPositions(d_model // num_heads) if rotary else None
        self.project_query = Linear(d_model, d_model)
        self.project_memory = Linear(d_model, 2 * d_model, parts=2)
        self.project_out = Linear(d_model, d_model)

    def prepare(self, memory: Tensor, bias: Tensor) -> LayerMemory:
        """Project the memory (B, S, D), with its bias (B, 1, 1, S), once for all target positions."""
        key, value = split_heads(self.project_memory(memory), 2, self.num_heads)  # (B, H, S, E) each
        if self.rotary is not None:
            key = self.rotary(key)
        key, value = (kernels.prepare_keys(heads, heads.size(3)) for heads in (key, value))
        return LayerMemory(key, value, kernels.pad_bias(bias, key.size(2)))

    def forward(self, x: Tensor, memory: LayerMemory, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D) -> (B, T, D) and, with `need_weights`, the weights averaged over heads (B, T, S')."""
        (query,) = split_heads(self.project_query(x), 1, self.num_heads)  # (B, H, T, E)
        if self.rotary is not None:
            query = self.rotary(query)
        dropout_p = self.dropout if self.training else 0.0
        merged, weights = kernels.attention(
            query, memory.key, memory.value, memory.bias, dropout_p=dropout_p, need_weights=need_weights
        )
        return self.project_out(merged), weights.mean(1) if need_weights and weights is not None else None

    def step(
        self, x: Tensor, memory: LayerMemory, at: DecodingStep, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Process the next token of each hypothesis.

        x (N, D) -> (N, D) and, with `need_weights`, the weights averaged over heads (B, K, S').
        """
        (query,) = at.split_heads(self.project_query(x), 1, self.num_heads)  # (B, H, K, E)
        if self.rotary is not None:
            query = self.rotary(query, at.position)
        merged, weights = kernels.step_attention(query, memory.key, memory.value, memory.bias, need_weights)
        merged = self.project_out(merged.flatten(0, 1))
        return merged, weights.mean(1) if need_weights and weights is not None else None
