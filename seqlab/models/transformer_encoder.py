"""The encoder of the Transformer, of which translators, masked models and labellers are made.

Shapes: B batch, S source positions, D d_model.
"""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.models.config import SETTINGS, ModelConfig, Probability, Size
from seqlab.models.encoder_decoder import NO_TAGS, SourceTags
from seqlab.nn import masks
from seqlab.nn.attention import CrossAttention, SelfAttention
from seqlab.nn.embedding import Embedding, PositionKind, check_heads
from seqlab.nn.layers import Linear, make_norm
from seqlab.nn.transformer import Activation, DecoderLayer, FeedForward, NormPlacement, SelfAttentionLayer


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EncoderLayersConfig(ModelConfig):
    """The fields of the layers of an encoder, whatever they read."""

    d_model: Size = 256
    """Size of every hidden state."""
    d_ff: Size = 1024
    """Size of the hidden layer of the feed-forward networks."""
    num_heads: Size = 4
    """Attention heads; `d_model` must be divisible by it."""
    num_encoder_layers: Size = 4
    """Layers of the encoder."""
    dropout: Probability = 0.1
    """Probability of dropping an element of an embedding or of a residual branch; on the CPU all of these are rounded
    to multiples of 1/256."""
    attention_dropout: Probability = 0.0
    """Probability of dropping an attention weight."""
    activation_dropout: Probability = 0.0
    """Probability of dropping an element of the feed-forward hidden layer."""
    norm: NormPlacement = "pre"
    """Layer norm before each branch (`pre`: trains without much care) or after each sum (`post`: the original)."""
    activation: Activation = "relu"
    """Non-linearity of the feed-forward networks."""
    positions: PositionKind = "sinusoidal"
    """How positions are encoded."""

    @model_validator(mode="after")
    def _check_heads(self) -> "EncoderLayersConfig":
        check_heads(self.d_model, self.num_heads, self.positions)
        return self


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerEncoderConfig(EncoderLayersConfig):
    """The fields that all families have which begin with an encoder of tokens."""

    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Longest sequence in tokens, special id counted, that inference reads and writes: longer input is cut. With
    `positions: learned` also in training."""

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has."""
        return self.d_model

    @property
    def context_limit(self) -> int | None:
        """Tokens of the longest sequence that the model reads."""
        return self.max_length

    @property
    def learned_length(self) -> int | None:
        """The number of learned positions."""
        return self.max_length if self.positions == "learned" else None


class TransformerEncoder(nn.Module):
    """Source ids to memory."""

    def __init__(self, config: TransformerEncoderConfig, embedding: Embedding, tags: SourceTags = NO_TAGS) -> None:
        super().__init__()
        # In this order: the state of an optimizer is saved by the order of parameters.
        self.embedding, self.tags = embedding, tags
        self.layers, self.norm = make_layers(config), make_last_norm(config)

    def forward(self, src: Tensor, src_lengths: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """src (B, S), src_lengths (B,) -> memory (B, S, D) and its attention bias (B, 1, 1, S).

        `added`: what is added to the embeddings (B, S, D), from models that know more of their tokens; their source has
        no tags.
        """
        if self.tags.are_summed:
            src, src_lengths, added = self.tags.take_out(src, src_lengths, self.embedding.look_up)
        x = self.embedding(src) if added is None else self.embedding(src) + added
        bias = masks.additive(masks.can_attend_to_keys(masks.padding_mask(src_lengths, x.size(1))))
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x), bias


def make_layers(config: EncoderLayersConfig) -> nn.ModuleList:
    """Build the layers of an encoder."""
    return nn.ModuleList(
        SelfAttentionLayer(
            config.d_model, config.norm, config.dropout, make_self_attention(config), make_feed_forward(config)
        )
        for _ in range(config.num_encoder_layers)
    )


def make_last_norm(config: EncoderLayersConfig) -> nn.Module:
    """Build what follows the last layer: with norms before each branch, another one."""
    return make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()


def make_self_attention(config: EncoderLayersConfig) -> SelfAttention:
    """Build the attention of a layer to its own positions."""
    return SelfAttention(config.d_model, config.num_heads, config.attention_dropout, config.positions == "rotary")


def make_feed_forward(config: EncoderLayersConfig) -> FeedForward:
    """Build the network that a layer applies to each position."""
    return FeedForward(config.d_model, config.d_ff, config.activation, config.activation_dropout)


def make_decoder_layer(config: TransformerEncoderConfig, rotary_cross_attention: bool = False) -> DecoderLayer:
    """Build a layer that also attends to the memory of such an encoder."""
    return DecoderLayer(
        config.d_model,
        config.norm,
        config.dropout,
        make_self_attention(config),
        CrossAttention(config.d_model, config.num_heads, config.attention_dropout, rotary_cross_attention),
        make_feed_forward(config),
    )


def init_linear_weights(module: nn.Module) -> None:
    """Initialise a linear layer by Glorot's uniform weights, each joined projection by itself, and zero biases."""
    if isinstance(module, Linear):
        for part in module.weight.chunk(module.parts):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(module.bias)
