"""The Transformer encoder-decoder (Vaswani et al. 2017), read from top to bottom.

Shapes: B batch, S source positions, T target positions, D d_model, N = B * K rows while decoding.
"""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.family import Family
from seqlab.models.interfaces import DecoderOutput, Step
from seqlab.nn import masks
from seqlab.nn.attention import CrossAttention, SelfAttention, pad_positions
from seqlab.nn.embedding import Embedding
from seqlab.nn.feed_forward import Activation, FeedForward
from seqlab.nn.linear import pad_rows
from seqlab.nn.norms import make_norm
from seqlab.nn.past import Past
from seqlab.nn.positions import PositionKind, check_heads
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.transformer import DecoderLayer, LayerMemory, NormPlacement, SelfAttentionLayer


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TransformerConfig(Family):
    """A Transformer encoder-decoder."""

    family: Literal["transformer"] = "transformer"
    d_model: int = 256
    """Size of every hidden state."""
    d_ff: int = 1024
    """Size of the hidden layer of the feed-forward networks."""
    num_heads: int = 4
    """Attention heads; `d_model` must be divisible by it."""
    num_encoder_layers: int = 4
    """Layers of the encoder."""
    num_decoder_layers: int = 4
    """Layers of the decoder."""
    dropout: float = 0.1
    """Probability of dropping an element of an embedding or of a residual branch; on the CPU all of these are rounded
    to multiples of 1/256."""
    attention_dropout: float = 0.0
    """Probability of dropping an attention weight."""
    activation_dropout: float = 0.0
    """Probability of dropping an element of the feed-forward hidden layer."""
    norm: NormPlacement = "pre"
    """Layer norm before each branch (`pre`: trains without much care) or after each sum (`post`: the original)."""
    positions: PositionKind = "sinusoidal"
    """How positions are encoded."""
    max_length: int = 512
    """Longest sequence in tokens, special id counted, that inference reads and writes: longer input is cut. With
    `positions: learned` also in training."""
    activation: Activation = "relu"
    """Non-linearity of the feed-forward networks."""
    tied_embeddings: Literal["all", "decoder", "none"] = "all"
    """Which embeddings share a weight: source, target and output (`all`), target and output (`decoder`), or none."""

    data_kind: ClassVar[str] = "parallel"

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has."""
        return self.d_model

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        if self.tied_embeddings == "all" and not data.joint_vocabulary:
            raise ValueError(
                "`model.tied_embeddings: all` gives both sides the same vectors, but with `data.joint_vocabulary: "
                "false` their ids mean different things: set `model.tied_embeddings` to `decoder` or `none`."
            )
        if self.tied_embeddings == "all" and len(data.vector_files()) == 2:
            raise ValueError(
                "`model.tied_embeddings: all` gives both sides the same vectors, which cannot start from both "
                "`data.vectors_src` and `data.vectors_tgt`: name one of them, or set `model.tied_embeddings: decoder`."
            )
        if self.positions == "learned" and data.max_length >= self.max_length:
            raise ValueError(
                f"`model.positions: learned` needs `model.max_length` ({self.max_length}) above "
                f"`data.max_length` ({data.max_length}), as each sequence has one special id more."
            )

    @model_validator(mode="after")
    def _check(self) -> "TransformerConfig":
        check_heads(self.d_model, self.num_heads, self.positions)
        sizes = ("d_model", "d_ff", "num_heads", "num_encoder_layers", "num_decoder_layers")
        for name, least in (*((name, 1) for name in sizes), ("max_length", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, but is {getattr(self, name)} instead.")
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), but is {getattr(self, name)} instead.")
        return self


class Encoder(nn.Module):
    """Source ids to memory."""

    def __init__(self, config: TransformerConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.head_dim = config.d_model // config.num_heads
        self.layers = nn.ModuleList(
            SelfAttentionLayer(
                config.d_model, config.norm, config.dropout, _self_attention(config), _feed_forward(config)
            )
            for _ in range(config.num_encoder_layers)
        )
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()

    def forward(self, src: Tensor, src_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """src (B, S), src_lengths (B,) -> memory (B, S', D) and its attention bias (B, 1, 1, S').

        S' is S in training; otherwise see `pad_positions`.
        """
        x = self.embedding(src)
        if not self.training:
            x = pad_positions(x, self.head_dim)
        bias = masks.additive(masks.can_attend_to_keys(masks.padding_mask(src_lengths, x.size(1))))
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x), bias


class Decoder(nn.Module):
    """Target ids and memory to hidden states."""

    def __init__(self, config: TransformerConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.head_dim = config.d_model // config.num_heads
        self.layers = nn.ModuleList(
            DecoderLayer(
                config.d_model,
                config.norm,
                config.dropout,
                _self_attention(config),
                CrossAttention(config.d_model, config.num_heads, config.attention_dropout),
                _feed_forward(config),
            )
            for _ in range(config.num_decoder_layers)
        )
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()

    def memories(self, memory: Tensor, bias: Tensor) -> list[LayerMemory]:
        """Project the memory (B, S, D) once for each layer."""
        layers = cast(Iterable[DecoderLayer], self.layers)
        pairs = (layer.cross_attention.keys_and_values(memory) for layer in layers)
        return [LayerMemory(key, value, bias) for key, value in pairs]

    def forward(self, tgt_in: Tensor, memories: list[LayerMemory]) -> Tensor:
        """tgt_in (B, T) -> hidden (B, T, D)."""
        x = self.embedding(tgt_in)
        if not self.training:
            x = pad_positions(x, self.head_dim)
        for layer, memory in zip(self.layers, memories, strict=True):
            x, _ = layer(x, memory)
        return self.norm(x[:, : tgt_in.size(1)])

    def step(self, last_ids: Tensor, state: "TransformerState") -> tuple[Tensor, Tensor | None]:
        """last_ids (N,) -> hidden (N, D) and, where asked for, the last layer's attention (N, S)."""
        at = state.past.begin_step(last_ids.device)
        x = pad_rows(self.embedding(last_ids[:, None], at.position)[:, 0])
        attention = None
        for i, (layer, memory, cache) in enumerate(zip(self.layers, state.memories, state.past.caches, strict=True)):
            need_weights = state.attention_size > 0 and i == len(self.layers) - 1
            x, attention = cast(DecoderLayer, layer).step(x, memory, cache, at, need_weights)
        hidden = self.norm(x)[: at.rows]
        return hidden, None if attention is None else attention.flatten(0, 1)[:, : state.attention_size]


class TransformerState:
    """Keys and values of the memory and of the past, one row per sentence."""

    def __init__(self, memories: list[LayerMemory], attention_size: int) -> None:
        self.memories = memories
        self.past = Past(len(memories), memories[0].key.size(0))
        self.attention_size = attention_size  # source positions whose weights were asked for, 0 for none

    def select(self, rows: Tensor) -> "TransformerState":
        """Keep, reorder or repeat rows. Memory and past are copied only where a sentence leaves."""
        kept = self.past.select(rows)
        if kept is not None:
            for i, memory in enumerate(self.memories):  # one after the other, as in the past
                self.memories[i] = LayerMemory(memory.key[kept], memory.value[kept], memory.bias[kept])
        return self

    def fork(self) -> "TransformerState":
        """Copy the past; the memory is never written to and is shared."""
        twin = copy.copy(self)
        twin.memories, twin.past = list(self.memories), self.past.fork()
        return twin


class Transformer(nn.Module):
    """Encoder and decoder; a `Stepper` and a `Scorer`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """The parameter that the ids of each side are looked up in."""

    def __init__(
        self, config: TransformerConfig, src_vocab_size: int, tgt_vocab_size: int, bos_id: int, eos_id: int
    ) -> None:
        super().__init__()
        if config.tied_embeddings == "all" and src_vocab_size != tgt_vocab_size:
            raise ValueError(
                f"`model.tied_embeddings: all` needs one vocabulary for both sides, but they have {src_vocab_size} and "
                f"{tgt_vocab_size} entries: set `data.joint_vocabulary: true` or `model.tied_embeddings: decoder`."
            )
        self.config, self.vocab_size, self.bos_id, self.eos_id = config, tgt_vocab_size, bos_id, eos_id
        std = config.d_model**-0.5
        tgt_weight = nn.Parameter(torch.empty(tgt_vocab_size, config.d_model).normal_(std=std))
        src_weight = out_weight = tgt_weight
        if config.tied_embeddings != "all":
            src_weight = nn.Parameter(torch.empty(src_vocab_size, config.d_model).normal_(std=std))
        if config.tied_embeddings == "none":
            out_weight = nn.Parameter(torch.empty(tgt_vocab_size, config.d_model).normal_(std=std))
        embed = partial(Embedding, positions=config.positions, max_length=config.max_length, dropout=config.dropout)
        self.encoder = Encoder(config, embed(src_weight))
        self.decoder = Decoder(config, embed(tgt_weight))
        self.projection = VocabularyProjection(out_weight)
        self.apply(initialise)

    def encode(self, batch: Seq2SeqBatch) -> list[LayerMemory]:
        """Run the encoder and project its memory for every decoder layer."""
        return self.decoder.memories(*self.encoder(batch.src, batch.src_lengths))

    def forward(self, batch: Seq2SeqBatch) -> DecoderOutput:
        """Run one teacher-forced pass: hidden states (B, T, D) and what maps them to the vocabulary."""
        assert batch.tgt_in is not None, "a teacher-forced pass needs a target"
        return DecoderOutput(self.decoder(batch.tgt_in, self.encode(batch)), self.projection)

    def score(self, batch: Seq2SeqBatch) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out`, 0 at padding."""
        assert batch.tgt_out is not None, "scoring needs a target"
        return self(batch).scores(batch.tgt_out)

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, TransformerState]:
        """Encode the source; the first step reads bos."""
        state = TransformerState(self.encode(batch), batch.src.size(1) if need_attention else 0)
        return batch.src.new_full((batch.src.size(0),), self.bos_id), state

    def step(self, last_ids: Tensor, state: TransformerState) -> Step:
        """Read one id per row (N,) and score the next."""
        hidden, attention = self.decoder.step(last_ids, state)
        return Step(self.projection.log_probs(hidden), state, attention)


def _self_attention(config: TransformerConfig) -> SelfAttention:
    return SelfAttention(config.d_model, config.num_heads, config.attention_dropout, config.positions == "rotary")


def _feed_forward(config: TransformerConfig) -> FeedForward:
    return FeedForward(config.d_model, config.d_ff, config.activation, config.activation_dropout)


def initialise(module: nn.Module) -> None:
    """Glorot-uniform weights, those that are a multiple of their input one square part at a time; zero biases."""
    if isinstance(module, nn.Linear):
        parts = (
            max(1, module.out_features // module.in_features) if module.out_features % module.in_features == 0 else 1
        )
        for part in module.weight.chunk(parts):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(module.bias)
