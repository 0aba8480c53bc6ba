"""Transformer encoder of tokens, shared by translators and masked language models.

Shapes: B batch, S source positions, D d_model.
"""

from typing import Annotated

from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.models.config import SETTINGS, EmbeddingSize, ModelConfig, Probability, Size, WarmStart
from seqlab.models.encoder_decoder import NO_TAGS, SourceTags
from seqlab.nn import masks
from seqlab.nn.attention import CrossAttention, SelfAttention
from seqlab.nn.embedding import Embedding, PositionKind, check_heads
from seqlab.nn.layers import Linear, make_norm
from seqlab.nn.transformer import Activation, DecoderLayer, FeedForward, NormPlacement, SelfAttentionLayer


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AttentionLayers:
    """Common fields of encoders with self-attention."""

    d_model: Size = 256
    """Size of the hidden states."""
    d_ff: Size = 1024
    """Size of the feed-forward networks' hidden layer."""
    num_heads: Size = 4
    """Number of attention heads; must divide `d_model`."""
    dropout: Probability = 0.1
    """Dropout probability of embeddings and residual branches; on the CPU rounded to a multiple of 1/256."""
    attention_dropout: Probability = 0.0
    """Dropout probability of the attention weights."""
    activation_dropout: Probability = 0.0
    """Dropout probability of the feed-forward networks' hidden layer."""
    norm: NormPlacement = "pre"
    """Layer norm before each residual branch (`pre`, more stable) or after each residual sum (`post`, the original)."""
    activation: Activation = "relu"
    """Activation function of the feed-forward networks."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TokenTransformerConfig(AttentionLayers, ModelConfig):
    """Common fields of families with a Transformer encoder of tokens."""

    num_encoder_layers: Size = 4
    """Number of encoder layers."""
    positions: PositionKind = "sinusoidal"
    """Position encoding."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Maximum sequence length in tokens at inference, special token included; longer inputs are split or cut. With
    `positions: learned` also a limit in training."""

    @model_validator(mode="after")
    def _check_heads(self) -> "TokenTransformerConfig":
        check_heads(self.d_model, self.num_heads, self.positions)
        return self

    @property
    def embedding(self) -> EmbeddingSize:
        """Size of the embeddings."""
        return EmbeddingSize("d_model", self.d_model)

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length in tokens."""
        return self.max_length

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs."""
        return WarmStart.of(self, learned_positions=self.max_length if self.positions == "learned" else None)


class TransformerEncoder(nn.Module):
    """Transformer encoder: source ids to memory."""

    def __init__(self, config: TokenTransformerConfig, embedding: Embedding, tags: SourceTags = NO_TAGS) -> None:
        super().__init__()
        # Keep this order: checkpoints store the optimizer's state in the order of the parameters.
        self.embedding, self.tags = embedding, tags
        self.layers = make_layers(config, config.num_encoder_layers, is_rotary=config.positions == "rotary")
        self.norm = make_last_norm(config)

    def forward(self, src: Tensor, src_lengths: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """src (B, S), src_lengths (B,) -> memory (B, S, D) and its attention bias (B, 1, 1, S).

        `added` (B, S, D) is added to the embeddings, for example vectors of n-grams; only for sources without tags.
        """
        if self.tags.are_summed:
            src, src_lengths, added = self.tags.remove_tags(src, src_lengths, self.embedding.look_up)
        x = self.embedding(src) if added is None else self.embedding(src) + added
        bias = masks.additive(masks.can_attend_to_keys(masks.padding_mask(src_lengths, x.size(1))))
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x), bias


def make_layers(config: AttentionLayers, count: int, *, is_rotary: bool) -> nn.ModuleList:
    """Build the encoder layers."""
    return nn.ModuleList(
        SelfAttentionLayer(
            config.d_model,
            config.norm,
            config.dropout,
            SelfAttention(config.d_model, config.num_heads, config.attention_dropout, is_rotary),
            make_feed_forward(config),
        )
        for _ in range(count)
    )


def make_last_norm(config: AttentionLayers) -> nn.Module:
    """Build the norm after the last layer, which pre-norm layers need; the identity for post-norm."""
    return make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()


def make_feed_forward(config: AttentionLayers) -> FeedForward:
    """Build the feed-forward network of a layer."""
    return FeedForward(config.d_model, config.d_ff, config.activation, config.activation_dropout)


def make_decoder_layer(config: TokenTransformerConfig, rotary_cross_attention: bool = False) -> DecoderLayer:
    """Build a decoder layer: self-attention, cross-attention to the memory and a feed-forward network."""
    return DecoderLayer(
        config.d_model,
        config.norm,
        config.dropout,
        SelfAttention(config.d_model, config.num_heads, config.attention_dropout, config.positions == "rotary"),
        CrossAttention(config.d_model, config.num_heads, config.attention_dropout, rotary_cross_attention),
        make_feed_forward(config),
    )


def init_linear_weights(module: nn.Module) -> None:
    """Initialize a `Linear` with Glorot-uniform weights, each stacked projection by itself, and zero biases."""
    if isinstance(module, Linear):
        for part in module.weight.chunk(module.parts):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(module.bias)
