"""Decoder-only Transformer language model (Radford et al. 2018).

Shapes: B rows of text, T positions, D d_model, N = B * K rows while decoding.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.data.batch import TextBatch
from seqlab.models.config import (
    SETTINGS,
    Ability,
    EmbeddingSize,
    LanguageModelConfig,
    Probability,
    Size,
    TokenSide,
    WarmStart,
)
from seqlab.models.interfaces import Step
from seqlab.models.outputs import DecoderOutput
from seqlab.nn import masks
from seqlab.nn.attention import SelfAttention
from seqlab.nn.embedding import Embedding, PositionKind, check_heads, reserve_positions
from seqlab.nn.kv_cache import DecoderCache
from seqlab.nn.layers import NormKind, make_norm
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.static_cache import make_static_cache
from seqlab.nn.transformer import Activation, FeedForward, SelfAttentionLayer


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerLmConfig(LanguageModelConfig):
    """A decoder-only Transformer language model, pre-norm."""

    family: Literal["transformer_lm"] = "transformer_lm"
    """Name of the model family."""
    d_model: Size = 256
    """Size of the hidden states."""
    d_ff: Size = 1024
    """Size of the feed-forward networks' hidden layer; `swiglu` has a gate of the same size."""
    num_heads: Size = 4
    """Number of attention heads; must divide `d_model`."""
    num_layers: Size = 4
    """Number of layers."""
    dropout: Probability = 0.1
    """Dropout probability of embeddings and residual branches; on the CPU rounded to a multiple of 1/256."""
    attention_dropout: Probability = 0.0
    """Dropout probability of the attention weights."""
    activation_dropout: Probability = 0.0
    """Dropout probability of the feed-forward networks' hidden layer."""
    norm_kind: NormKind = "rms_norm"
    """Norm: `layer_norm`, or `rms_norm` without centering and bias."""
    positions: PositionKind = "rotary"
    """Position encoding."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] | None = None
    """Context length in tokens. Generation beyond it encodes the last half of the context again. null takes
    `data.block_length`, the longest context seen in training."""
    activation: Activation = "gelu"
    """Activation function of the feed-forward networks."""
    tied_embeddings: bool = True
    """Whether the output projection shares the weight of the embeddings."""

    @property
    def context_limit(self) -> int | None:
        """Context length in tokens."""
        return self.max_length

    @property
    def abilities(self) -> frozenset[Ability]:
        """Packed rows."""
        return frozenset({"packed"})

    @property
    def embedding(self) -> EmbeddingSize:
        """Size of the embeddings."""
        return EmbeddingSize("d_model", self.d_model)

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs: its weights are those of the decoder of a translator."""
        return WarmStart.of(
            self,
            learned_positions=self.max_length if self.positions == "learned" else None,
            translator_name=lambda name: None if name.startswith("projection.") else f"decoder.{name}",
        )

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerLm":
        """Build the model."""
        return TransformerLm(self, tgt.vocab_size, tgt.eos_id)

    @model_validator(mode="after")
    def _check(self) -> "TransformerLmConfig":
        check_heads(self.d_model, self.num_heads, self.positions)
        return self

    def resolve(self, data: Any) -> "TransformerLmConfig":
        """Set the default `max_length`."""
        return self if self.max_length is not None else replace(self, max_length=data.block_length)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        super().check_data(data)
        assert self.max_length is not None, "`resolve` sets it"
        if data.block_length > self.max_length:
            raise ValueError(
                f"`data.block_length` ({data.block_length}) must be at most `model.max_length` ({self.max_length})."
            )
        if self.positions == "learned" and self.max_length != data.block_length:
            raise ValueError(
                f"`model.positions: learned` has no training data for positions after `data.block_length` "
                f"({data.block_length}): remove `model.max_length` ({self.max_length}), or set both equal."
            )
        if data.order == "contiguous":
            raise ValueError(
                "`data.order: contiguous` carries a state from block to block, which `model.family: transformer_lm` "
                "does not have: set `data.order: shuffled`."
            )


class TransformerLmState:
    """KV cache and ids of the context, whose last half is encoded again when `max_length` is exceeded."""

    def __init__(self, cache: DecoderCache, ids: Tensor | None) -> None:
        self.cache = cache
        self.ids = ids  # (N, length); None if `max_length` cannot be exceeded

    def select(self, rows: Tensor) -> "TransformerLmState":
        """Keep, reorder or repeat rows."""
        self.cache.select(rows)
        self.ids = None if self.ids is None else self.ids[rows]
        return self

    def fork(self) -> "TransformerLmState":
        """Return an independent copy."""
        return TransformerLmState(self.cache.fork(), self.ids)


class TransformerLm(nn.Module):
    """Decoder-only Transformer; a `Stepper`, `Scorer` and `StaticStepper`."""

    embeddings: ClassVar[dict[str, str]] = {"tgt": "embedding.weight"}
    """Names of the embedding parameters of the source and target side."""

    def __init__(self, config: TransformerLmConfig, vocab_size: int, eos_id: int) -> None:
        super().__init__()
        if config.max_length is None:
            raise ValueError("`max_length` is null: set it, or call `resolve` of the config with the data section.")
        self.config, self.vocab_size, self.eos_id = config, vocab_size, eos_id
        self.max_length = config.max_length
        # With a larger std, a model with tied embeddings would initially predict the input token again.
        std = 1 / config.d_model if config.tied_embeddings else config.d_model**-0.5
        weight = nn.Parameter(torch.empty(vocab_size, config.d_model).normal_(std=std))
        out_weight = weight
        if not config.tied_embeddings:
            out_weight = nn.Parameter(torch.empty(vocab_size, config.d_model).normal_(std=std))
        self.embedding = Embedding(weight, config.positions, self.max_length, config.dropout)
        self.layers = nn.ModuleList(_layer(config) for _ in range(config.num_layers))
        self.norm = make_norm(config.norm_kind, config.d_model)
        self.projection = VocabularyProjection(out_weight)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw normal weights with a std of sqrt(2 / (5 d_model)) (Nguyen & Salazar 2019, arXiv:1910.05895).

        The last matrix of each residual branch is scaled by 1 / sqrt(2 num_layers), as in GPT-2.
        """
        for name, parameter in self.layers.named_parameters():
            if parameter.dim() > 1:
                ends_branch = name.endswith(("project_out.weight", "contract.weight"))
                scale = (2 * self.config.num_layers) ** -0.5 if ends_branch else 1.0
                nn.init.normal_(parameter, std=scale * (2 / (5 * self.config.d_model)) ** 0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, batch: TextBatch) -> DecoderOutput:
        """Run one teacher-forced pass: hidden states (B, T, D)."""
        return DecoderOutput(self._hidden(batch.tgt_in, batch.positions), self.projection)

    def score(self, batch: TextBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at ignored positions."""
        return self(batch).scores(batch.tgt_out)

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, TransformerLmState]:
        """Read prompts of equal lengths, except their last ids, which the first step reads. There is no attention."""
        ids = batch.tgt_in[:, max(0, batch.tgt_in.size(1) - self.max_length) :]
        return ids[:, -1], self._encode_context(ids[:, :-1])

    def step(self, last_ids: Tensor, state: TransformerLmState) -> Step:
        """Read one id per row (N,) and score the next id."""
        if state.ids is not None and state.cache.length == self.max_length:
            state = self._encode_context(state.ids[:, -(self.max_length // 2) :], may_share=False)
        at = state.cache.begin_step(last_ids.device)
        x = self.embedding.embed_at(last_ids, at.position)
        for layer, cache in zip(cast(Iterable[SelfAttentionLayer], self.layers), state.cache.layers, strict=True):
            x = layer.step(x, cache, at)
        if state.ids is not None:
            state.ids = torch.cat([state.ids, last_ids[:, None]], dim=1)
        return Step(self.projection.log_probs(self.norm(x)), state, None)

    def static_state(self, state: TransformerLmState, steps: int) -> TransformerLmState | None:
        """Copy a state into tensors of a fixed size with room for `steps` steps; None where that is impossible."""
        length = state.cache.length + steps
        if length > self.max_length:
            return None
        cache = make_static_cache(state.cache, steps, self.projection.weight.device, reserve_positions(self, length))
        return None if cache is None else TransformerLmState(cache, None)

    def _encode_context(self, ids: Tensor, *, may_share: bool = True) -> TransformerLmState:
        """Fill a KV cache with ids (B, T), in one pass; T may be 0. `may_share` as in `DecoderCache`."""
        cache = DecoderCache(self.config.num_layers, ids.size(0), may_share=may_share)
        if ids.size(1):
            self._hidden(ids, None, cache)
        return TransformerLmState(cache, ids)

    def _hidden(self, ids: Tensor, positions: Tensor | None, cache: DecoderCache | None = None) -> Tensor:
        """ids (B, T) -> hidden (B, T, D); `positions` (B, T) of packed rows: position of each id in its line."""
        x = self.embedding(ids, positions=positions)
        bias = None
        if positions is not None:
            bias = masks.additive(masks.causal_within_documents(positions, x.size(1)))
        for i, layer in enumerate(self.layers):
            x = layer(x, bias, is_causal=bias is None, cache=None if cache is None else cache.layers[i])
        if cache is not None:
            cache.length = ids.size(1)
        return self.norm(x)


def _layer(config: TransformerLmConfig) -> SelfAttentionLayer:
    rotary = config.positions == "rotary"
    return SelfAttentionLayer(
        config.d_model,
        "pre",
        config.dropout,
        SelfAttention(config.d_model, config.num_heads, config.attention_dropout, rotary),
        FeedForward(config.d_model, config.d_ff, config.activation, config.activation_dropout),
        config.norm_kind,
    )
