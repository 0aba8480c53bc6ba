"""Transformer layers, composed from attention and feed-forward parts (Vaswani et al. 2017)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from seqlab.nn.attention import CrossAttention, DecodingStep, KeyValueCache, SelfAttention
from seqlab.nn.dropout import dropout_add
from seqlab.nn.feed_forward import FeedForward
from seqlab.nn.norms import NormKind, make_norm

NormPlacement = Literal["pre", "post"]


class Residual(nn.Module):
    """x + dropout(sublayer(x)) with its norm: before the sublayer (pre) or after the sum (post)."""

    def __init__(self, d_model: int, norm: NormPlacement, dropout: float, norm_kind: NormKind = "layer_norm") -> None:
        super().__init__()
        self.placement = norm
        self.norm = make_norm(norm_kind, d_model)
        self.dropout = dropout

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """x (..., D) -> (..., D)."""
        p = self.dropout if self.training else 0.0
        if self.placement == "pre":
            return dropout_add(x, sublayer(self.norm(x)), p)
        return self.norm(dropout_add(x, sublayer(x), p))


class SelfAttentionLayer(nn.Module):
    """Self-attention and a feed-forward network, each in a residual branch: of an encoder, or of a decoder alone."""

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
        """Read the next symbol of each hypothesis: x (P, D) -> (P, D), see `DecodingStep`."""
        x = self.attention_residual(x, lambda y: self.attention.step(y, cache, at))
        return self.feed_forward_residual(x, self.feed_forward)


@dataclass
class LayerMemory:
    """What a decoder layer attends to besides its own input: the encoder's keys and values."""

    key: Tensor  # (B, H, S, E)
    value: Tensor  # (B, H, S, E)
    bias: Tensor  # (B, 1, 1, S), added to the attention scores


class DecoderLayer(nn.Module):
    """Self-attention, attention to the memory and a feed-forward network, each in a residual branch."""

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
        """x (B, T, D) -> (B, T, D) and, where asked for, the weights over the memory (B, T, S).

        Self-attention is causal; with `bias` (B, 1, 1, T) it is what that allows, of all positions.
        """
        x = self.attention_residual(x, lambda y: self.attention(y, bias, is_causal=bias is None))
        return self._after_self_attention(
            x, lambda y: self.cross_attention(y, memory.key, memory.value, memory.bias, need_weights)
        )

    def step(
        self, x: Tensor, memory: LayerMemory, cache: KeyValueCache, at: DecodingStep, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Read the next symbol of each hypothesis: x (P, D) -> (P, D), see `DecodingStep`, and weights (B, K, S)."""
        x = self.attention_residual(x, lambda y: self.attention.step(y, cache, at))
        return self._after_self_attention(
            x, lambda y: self.cross_attention.step(y, memory.key, memory.value, memory.bias, at, need_weights)
        )

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
