"""The Transformer encoder-decoder (Vaswani et al. 2017): config, decoder and model; begin with `Transformer.forward`.

Shapes: B batch, S source positions, T target positions, D d_model, N = B * K rows while decoding.
"""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.config import SETTINGS, Size, TokenSide
from seqlab.models.encoder_decoder import (
    EmbeddingTying,
    EncoderDecoder,
    SourceTags,
    SourceView,
    TagUse,
    check_copying,
    check_tag_ids,
    check_tags,
    check_tying,
    make_embeddings,
)
from seqlab.models.interfaces import DecoderOutput, Step
from seqlab.models.transformer_encoder import (
    TransformerEncoder,
    TransformerEncoderConfig,
    init_linear_weights,
    make_decoder_layer,
)
from seqlab.nn.attention import LayerMemory
from seqlab.nn.copying import NO_UNK_ID, PointerGenerator
from seqlab.nn.embedding import Embedding, reserve_positions
from seqlab.nn.input_mixing import InputMixing, embed_predictions
from seqlab.nn.kv_cache import DecoderCache
from seqlab.nn.layers import make_norm
from seqlab.nn.projection import BLOCK_ROWS, VocabularyProjection
from seqlab.nn.static_cache import make_static_cache
from seqlab.nn.transformer import DecoderLayer


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerConfig(TransformerEncoderConfig):
    """A Transformer encoder-decoder."""

    family: Literal["transformer"] = "transformer"
    num_decoder_layers: Size = 4
    """Layers of the decoder."""
    rotary_cross_attention: bool = False
    """Whether attention to the source, too, is told by rotation how far a position is from its own: for tasks that keep
    the order of their symbols."""
    tied_embeddings: EmbeddingTying = "all"
    """Which embeddings share a weight: source, target and output (`all`), target and output (`decoder`), or none."""
    tags: TagUse = "symbols"
    """What becomes of tags in the source, where the tokenizer has them: read as symbols behind it, or the sum of their
    embeddings is added to that of each symbol."""
    copying: bool = False
    """Whether the decoder also points at symbols of the source to be copied (See et al. 2017), by the mean attention of
    its last layer; with one vocabulary."""

    task: ClassVar[str] = "translation"
    attends_to_source: ClassVar[bool] = True

    def build(self, src: TokenSide, tgt: TokenSide) -> "Transformer":
        """Build the model."""
        return Transformer(self, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id, tgt.unk_id, src.tag_ids)

    @property
    def copies(self) -> bool:
        """Whether it copies from the source."""
        return self.copying

    def decoder_name(self, name: str) -> str | None:
        """Name a weight of the decoder."""
        return name if name.startswith("decoder.") else None

    def check_sides(self, src: TokenSide, tgt: TokenSide) -> None:
        """Raise ValueError where tags are to be summed, but the source has none."""
        check_tag_ids(self.tags, src.tag_ids)

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        check_tying(self.tied_embeddings, data)
        check_copying(self.copying, data)
        check_tags(self.tags, data)
        if self.positions == "learned" and data.max_length >= self.max_length:
            raise ValueError(
                f"`model.positions: learned` needs `model.max_length` ({self.max_length}) above "
                f"`data.max_length` ({data.max_length}), as each sequence has one special id more."
            )

    @model_validator(mode="after")
    def _check(self) -> "TransformerConfig":
        if self.rotary_cross_attention and (self.d_model // self.num_heads) % 2:
            raise ValueError(
                "`rotary_cross_attention` needs an even head size, but `d_model / num_heads` is "
                f"{self.d_model // self.num_heads} instead."
            )
        return self


class TransformerDecoder(nn.Module):
    """Embedded targets and memory to hidden states."""

    def __init__(self, config: TransformerConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(
            make_decoder_layer(config, config.rotary_cross_attention) for _ in range(config.num_decoder_layers)
        )
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()

    def memories(self, memory: Tensor, bias: Tensor) -> list[LayerMemory]:
        """Project the memory (B, S, D) once for each layer."""
        layers = cast(Iterable[DecoderLayer], self.layers)
        return [layer.cross_attention.prepare(memory, bias) for layer in layers]

    def forward(
        self, vectors: Tensor, memories: list[LayerMemory], need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Embeddings (B, T, D) -> hidden (B, T, D) and, where asked for, the last layer's attention (B, T, S')."""
        x, attention = self.embedding.add_positions(vectors), None
        for i, (layer, memory) in enumerate(zip(self.layers, memories, strict=True), start=1):
            x, attention = layer(x, memory, need_weights and i == len(memories))
        return self.norm(x), attention

    def step(self, last_ids: Tensor, state: "TransformerState") -> tuple[Tensor, Tensor | None]:
        """last_ids (N,) -> hidden (N, D) and, where asked for, the last layer's attention (N, S)."""
        at = state.cache.begin_step(last_ids.device)
        x = self.embedding.embed_at(last_ids, at.position)
        attention = None
        for i, (layer, memory, cache) in enumerate(zip(self.layers, state.memories, state.cache.layers, strict=True)):
            need_weights = state.view.needs_weights and i == len(self.layers) - 1
            x, attention = cast(DecoderLayer, layer).step(x, memory, cache, at, need_weights)
        return self.norm(x), None if attention is None else attention.flatten(0, 1)


class TransformerState:
    """Keys and values of the memory and of the prefix, one row per sentence."""

    def __init__(self, memories: list[LayerMemory], view: SourceView) -> None:
        self.memories, self.view = memories, view
        self.cache = DecoderCache(len(memories), memories[0].key.size(0))

    def select(self, rows: Tensor) -> "TransformerState":
        """Keep, reorder or repeat rows. Memory and cache are copied only where a sentence leaves."""
        kept = self.cache.select(rows)
        if kept is not None:
            for i, memory in enumerate(self.memories):  # one after the other, as in the cache
                self.memories[i] = LayerMemory(memory.key[kept], memory.value[kept], memory.bias[kept])
            self.view = self.view.select(kept)
        return self

    def static_state(self, steps: int, tables: list[Tensor] | None) -> "TransformerState | None":
        """Copy the cache to a fixed size: see `make_static_cache`."""
        cache = make_static_cache(self.cache, steps, self.memories[0].key.device, tables)
        if cache is None:
            return None
        twin = copy.copy(self)
        twin.cache = cache
        return twin

    def fork(self) -> "TransformerState":
        """Copy the cache; the memory is never written to and is shared."""
        twin = copy.copy(self)
        twin.memories, twin.cache = list(self.memories), self.cache.fork()
        return twin


class Transformer(EncoderDecoder):
    """Encoder and decoder; a `Stepper` and a `Scorer`."""

    def __init__(
        self,
        config: TransformerConfig,
        src_vocab_size: int,
        tgt_vocab_size: int,
        bos_id: int,
        eos_id: int,
        unk_id: int = NO_UNK_ID,
        tag_ids: range = range(0),
    ) -> None:
        """Build the layers; `unk_id`: what a model that copies reads unknown words as; `tag_ids`: of the source."""
        super().__init__()
        self.config, self.vocab_size, self.bos_id, self.eos_id = config, tgt_vocab_size, bos_id, eos_id
        weights = make_embeddings(
            config.tied_embeddings,
            src_vocab_size,
            tgt_vocab_size,
            lambda rows: torch.empty(rows, config.d_model).normal_(std=config.d_model**-0.5),
        )
        embed = partial(Embedding, positions=config.positions, max_length=config.max_length, dropout=config.dropout)
        self.source_tags = SourceTags(config.tags, tag_ids, eos_id)
        self.encoder = TransformerEncoder(config, embed(weights.src), self.source_tags)
        self.decoder = TransformerDecoder(config, embed(weights.tgt))
        self.projection = VocabularyProjection(weights.out)
        self.copying = (
            PointerGenerator(config.d_model, tgt_vocab_size, eos_id, unk_id, tag_ids) if config.copying else None
        )
        self.apply(init_linear_weights)

    def encode(self, batch: Seq2SeqBatch) -> list[LayerMemory]:
        """Run the encoder and project its memory for every decoder layer."""
        return self.decoder.memories(*self.encoder(self.readable(batch.src), batch.src_lengths))

    def forward(
        self, batch: Seq2SeqBatch, need_attention: bool = False, mixing: InputMixing | None = None
    ) -> DecoderOutput:
        """Run one teacher-forced pass: hidden states (B, T, D), what maps them to the vocabulary, perhaps attention.

        With `mixing` the pass reads predictions of another one before it in the place of some references.
        """
        assert batch.tgt_in is not None, "a teacher-forced pass needs a target"
        need_attention |= self.copying is not None
        memories, vectors = self.encode(batch), self.decoder.embedding.look_up(self.readable(batch.tgt_in))
        if mixing is not None:
            vectors = self._mixed(vectors, memories, mixing)
        return self.output(batch, *self.decoder(vectors, memories, need_attention))

    def _mixed(self, vectors: Tensor, memories: list[LayerMemory], mixing: InputMixing) -> Tensor:
        """Put what a pass over the references (B, T, D) predicts into the place of some; bos is none of these."""
        if vectors.size(1) == 1:
            return vectors
        with torch.no_grad():
            hidden, _ = self.decoder(vectors[:, :-1], memories)
        read = partial(self._read, mixing)
        if mixing.mixture == "soft":  # or the probabilities of all symbols would be kept for the backward pass
            read = partial(checkpoint, read, use_reentrant=False, preserve_rng_state=False)
        blocks = hidden.flatten(0, 1).split(BLOCK_ROWS)  # or the logits of all tokens would be there at once
        predicted = torch.cat([read(block) for block in blocks]).view_as(hidden)
        return mixing.mix(vectors, F.pad(predicted, (0, 0, 1, 0)))

    def _read(self, mixing: InputMixing, hidden: Tensor) -> Tensor:
        """Embed what hidden states predict, both (N, D)."""
        with torch.no_grad():
            predictions = mixing.predictions(self.projection(hidden))
        return embed_predictions(predictions, self.decoder.embedding.weight) * self.decoder.embedding.scale

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, TransformerState]:
        """Encode the source; the first step reads bos."""
        return self.first_ids(batch), TransformerState(self.encode(batch), self.view(batch, need_attention))

    def step(self, last_ids: Tensor, state: TransformerState) -> Step:
        """Read one id per row (N,) and score the next."""
        hidden, attention = self.decoder.step(self.readable(last_ids), state)
        return self.scored(hidden, attention, state.view, state)

    def static_state(self, state: TransformerState, steps: int) -> TransformerState | None:
        """Give a state the fixed size that a graph needs, with room for `steps` steps; None where it cannot be."""
        return state.static_state(steps, reserve_positions(self.decoder, state.cache.length + steps))
