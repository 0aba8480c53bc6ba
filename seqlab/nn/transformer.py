"""Transformer layers: attention and feed-forward networks in residual branches (Vaswani et al. 2017)."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import kernels
from seqlab.nn.attention import CrossAttention, LayerMemory, SelfAttention
from seqlab.nn.kv_cache import DecodingStep, KeyValueCache
from seqlab.nn.layers import Dropout, Linear, NormKind, make_norm

Activation = Literal["relu", "gelu", "swiglu"]


class FeedForward(nn.Module):
    """Feed-forward network of two linear layers; `swiglu` multiplies half of the units by gates (Shazeer 2020)."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = activation
        parts = 2 if activation == "swiglu" else 1
        self.expand = Linear(d_model, parts * d_ff, parts=parts)
        self.contract = Linear(d_ff, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        hidden = self.expand(x)  # (..., d_ff), twice that for swiglu
        if self.activation == "swiglu":
            gate, value = hidden.chunk(2, dim=-1)
            hidden = kernels.silu(gate) * value
        else:
            hidden = F.relu(hidden) if self.activation == "relu" else F.gelu(hidden)
        return self.contract(self.dropout(hidden))


NormPlacement = Literal["pre", "post"]


class Residual(nn.Module):
    """Residual branch x + dropout(sublayer(x)), with a norm before the sublayer (pre) or after the sum (post)."""

    def __init__(self, d_model: int, norm: NormPlacement, dropout: float, norm_kind: NormKind = "layer_norm") -> None:
        super().__init__()
        self.placement = norm
        self.norm = make_norm(norm_kind, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """x (..., D) -> (..., D)."""
        if self.placement == "pre":
            return x + self.dropout(sublayer(self.norm(x)).to(x.dtype))
        return self.norm(x + self.dropout(sublayer(x).to(x.dtype)))


class SelfAttentionLayer(nn.Module):
    """Layer of an encoder or a decoder-only model: self-attention and a feed-forward network in residual branches."""

    def __init__(
        self,
        d_model: int,
        norm: NormPlacement,
        dropout: float,
        attention: SelfAttention,
        feed_forward: FeedForward,
        norm_kind: NormKind = "layer_norm",
    ) -> None:
        super().__init__()
        self.attention, self.feed_forward = attention, feed_forward
        self.attention_residual = Residual(d_model, norm, dropout, norm_kind)
        self.feed_forward_residual = Residual(d_model, norm, dropout, norm_kind)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, is_causal: bool = False, cache: KeyValueCache | None = None
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D); see `SelfAttention`."""
        x = self.attention_residual(x, lambda y: self.attention(y, bias, is_causal, cache))
        return self.feed_forward_residual(x, self.feed_forward)

    def step(self, x: Tensor, cache: KeyValueCache, at: DecodingStep) -> Tensor:
        """Process the next token of each hypothesis: x (N, D) -> (N, D)."""
        x = self.attention_residual(x, lambda y: self.attention.step(y, cache, at))
        return self.feed_forward_residual(x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Decoder layer: self-attention, cross-attention and a feed-forward network in residual branches."""

    def __init__(
        self,
        d_model: int,
        norm: NormPlacement,
        dropout: float,
        attention: SelfAttention,
        cross_attention: CrossAttention,
        feed_forward: FeedForward,
    ) -> None:
        super().__init__()
        self.attention, self.cross_attention, self.feed_forward = attention, cross_attention, feed_forward
        self.attention_residual = Residual(d_model, norm, dropout)
        self.cross_attention_residual = Residual(d_model, norm, dropout)
        self.feed_forward_residual = Residual(d_model, norm, dropout)

    def forward(
        self, x: Tensor, memory: LayerMemory, need_weights: bool = False, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D) -> (B, T, D) and, with `need_weights`, the weights over the memory (B, T, S).

        Self-attention is causal, unless `bias` (B, 1, 1, T) is given, which replaces the causal mask.
        """
        x = self.attention_residual(x, lambda y: self.attention(y, bias, is_causal=bias is None))
        return self._after_self_attention(x, lambda y: self.cross_attention(y, memory, need_weights))

    def step(
        self, x: Tensor, memory: LayerMemory, cache: KeyValueCache, at: DecodingStep, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Process the next token of each hypothesis: x (N, D) -> (N, D) and weights (B, K, S)."""
        x = self.attention_residual(x, lambda y: self.attention.step(y, cache, at))
        return self._after_self_attention(x, lambda y: self.cross_attention.step(y, memory, at, need_weights))

    def _after_self_attention(
        self, x: Tensor, attend_to_memory: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    ) -> tuple[Tensor, Tensor | None]:
        weights = None

        def attend(y: Tensor) -> Tensor:
            nonlocal weights
            out, weights = attend_to_memory(y)
            return out

        x = self.cross_attention_residual(x, attend)
        return self.feed_forward_residual(x, self.feed_forward), weights
