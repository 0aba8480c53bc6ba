"""Transformer encoder-decoder (Vaswani et al. 2017): config, decoder and model.

Start reading at `Transformer.forward`.

Shapes: B batch, S source positions, T target positions, D d_model, N = B * K rows while decoding.
"""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqlab.base.config_class import dataclass
from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.config import SETTINGS, Ability, Size, TokenSide
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
from seqlab.models.interfaces import Step
from seqlab.models.outputs import DecoderOutput
from seqlab.models.transformer_encoder import (
    TokenTransformerConfig,
    TransformerEncoder,
    init_linear_weights,
    make_decoder_layer,
)
from seqlab.nn.attention import LayerMemory
from seqlab.nn.copying import NO_UNK_ID, PointerGenerator
from seqlab.nn.embedding import Embedding, reserve_positions
from seqlab.nn.input_mixing import InputMixing, embed_predictions
from seqlab.nn.kv_cache import DecoderCache
from seqlab.nn.layers import make_norm
from seqlab.nn.projection import ROWS_PER_LOSS_BLOCK, VocabularyProjection
from seqlab.nn.static_cache import make_static_cache
from seqlab.nn.transformer import DecoderLayer


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerConfig(TokenTransformerConfig):
    """A Transformer encoder-decoder."""

    family: Literal["transformer"] = "transformer"
    num_decoder_layers: Size = 4
    """Number of decoder layers."""
    rotary_cross_attention: bool = False
    """Whether rotary embeddings encode relative positions of source and target in cross-attention (Su et al. 2021). For
    tasks whose outputs keep the order of the input."""
    tied_embeddings: EmbeddingTying = "all"
    """Embeddings that share a weight: source, target and output (`all`), target and output (`decoder`), or none."""
    tags: TagUse = "symbols"
    """Handling of source tags, if the tokenizer has them: as tokens (`symbols`), or the sum of their embeddings is
    added to the embedding of each token (`sum`)."""
    copying: bool = False
    """Whether the decoder may copy source tokens (pointer-generator, See et al. 2017), by the mean cross-attention of
    its last layer; needs a joint vocabulary."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)
    shared_fields: ClassVar[tuple[str, ...]] = ("tied_embeddings",)  # it depends on the corpus, not on the family

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of tokens in the vocabulary of the target."""
        return int(tgt.vocab_size)

    def build(self, src: TokenSide, tgt: TokenSide) -> "Transformer":
        """Build the model."""
        return Transformer(self, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id, tgt.unk_id, src.tag_ids)

    @property
    def abilities(self) -> frozenset[Ability]:
        """Attention to the source, and copying if configured."""
        return frozenset({"source_attention", "copying"} if self.copying else {"source_attention"})

    def check_sides(self, src: TokenSide, tgt: TokenSide) -> None:
        """Raise ValueError for summed tags if the source has no tags."""
        check_tag_ids(self.tags, src.tag_ids)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        check_tying(self.tied_embeddings, data)
        check_copying(self.copying, data)
        check_tags(self.tags, data)
        if self.positions == "learned" and data.max_length >= self.max_length:
            raise ValueError(
                f"`model.positions: learned` needs `model.max_length` ({self.max_length}) above "
                f"`data.max_length` ({data.max_length}), because each sequence also has a special token."
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
    """Transformer decoder: embedded targets and memory to hidden states."""

    def __init__(self, config: TransformerConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(
            make_decoder_layer(config, config.rotary_cross_attention) for _ in range(config.num_decoder_layers)
        )
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()

    def memories(self, memory: Tensor, bias: Tensor) -> list[LayerMemory]:
        """Compute the keys and values of the memory (B, S, D) for each layer."""
        layers = cast(Iterable[DecoderLayer], self.layers)
        return [layer.cross_attention.prepare(memory, bias) for layer in layers]

    def forward(
        self, vectors: Tensor, memories: list[LayerMemory], need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """vectors (B, T, D) -> hidden (B, T, D) and, with `need_weights`, the last layer's attention (B, T, S')."""
        x, attention = self.embedding.add_positions(vectors), None
        for i, (layer, memory) in enumerate(zip(self.layers, memories, strict=True), start=1):
            x, attention = layer(x, memory, need_weights and i == len(memories))
        return self.norm(x), attention

    def step(self, last_ids: Tensor, state: "TransformerState") -> tuple[Tensor, Tensor | None]:
        """last_ids (N,) -> hidden (N, D) and, if `state.view` needs it, the last layer's attention (N, S)."""
        at = state.cache.begin_step(last_ids.device)
        x = self.embedding.embed_at(last_ids, at.position)
        attention = None
        for i, (layer, memory, cache) in enumerate(zip(self.layers, state.memories, state.cache.layers, strict=True)):
            need_weights = state.view.needs_weights and i == len(self.layers) - 1
            x, attention = cast(DecoderLayer, layer).step(x, memory, cache, at, need_weights)
        return self.norm(x), None if attention is None else attention.flatten(0, 1)


class TransformerState:
    """Decoding state: keys and values of the memory, one row per sentence, and the KV cache of self-attention."""

    def __init__(self, memories: list[LayerMemory], view: SourceView) -> None:
        self.memories, self.view = memories, view
        self.cache = DecoderCache(len(memories), memories[0].key.size(0))

    def select(self, rows: Tensor) -> "TransformerState":
        """Keep, reorder or repeat rows. Memory and cache are copied only when a sentence is removed."""
        kept = self.cache.select(rows)
        if kept is not None:
            # One layer at a time, so that the next copy can reuse freed memory.
            for i, memory in enumerate(self.memories):
                self.memories[i] = LayerMemory(memory.key[kept], memory.value[kept], memory.bias[kept])
            self.view = self.view.select(kept)
        return self

    def static_state(self, steps: int, tables: list[Tensor] | None) -> "TransformerState | None":
        """Copy the KV cache into tensors of a fixed size; see `make_static_cache`."""
        cache = make_static_cache(self.cache, steps, self.memories[0].key.device, tables)
        if cache is None:
            return None
        static = copy.copy(self)
        static.cache = cache
        return static

    def fork(self) -> "TransformerState":
        """Return an independent copy; the memory is read-only and shared."""
        forked = copy.copy(self)
        forked.memories, forked.cache = list(self.memories), self.cache.fork()
        return forked


class Transformer(EncoderDecoder):
    """Transformer encoder-decoder; a `Stepper`, `Scorer`, `StaticStepper` and `MixingDecoder`."""

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
        """Build the layers. `unk_id`: id of unknown words, only for models that copy; `tag_ids`: ids of source tags."""
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
        """Run the encoder and compute the keys and values of its memory for each decoder layer."""
        return self.decoder.memories(*self.encoder(self.replace_copied(batch.src), batch.src_lengths))

    def forward(
        self, batch: Seq2SeqBatch, need_attention: bool = False, mixing: InputMixing | None = None
    ) -> DecoderOutput:
        """Run one teacher-forced pass: hidden states (B, T, D) and, with `need_attention`, attention.

        With `mixing` (scheduled sampling) the inputs are a mixture of references and the predictions of a first pass.
        """
        assert batch.tgt_in is not None, "a teacher-forced pass needs a target"
        need_attention |= self.copying is not None
        memories, vectors = self.encode(batch), self.decoder.embedding.look_up(self.replace_copied(batch.tgt_in))
        if mixing is not None:
            vectors = self._mix_inputs(vectors, memories, mixing)
        return self.make_output(batch, *self.decoder(vectors, memories, need_attention))

    def _mix_inputs(self, vectors: Tensor, memories: list[LayerMemory], mixing: InputMixing) -> Tensor:
        """Replace some of the embedded references (B, T, D), except bos, by the predictions of a first pass."""
        if vectors.size(1) == 1:
            return vectors
        with torch.no_grad():
            hidden, _ = self.decoder(vectors[:, :-1], memories)
        embed = partial(self._embed_predictions, mixing)
        if mixing.mixture == "soft":  # otherwise the backward pass would keep the probabilities of all tokens
            embed = partial(checkpoint, embed, use_reentrant=False, preserve_rng_state=False)
        blocks = hidden.flatten(0, 1).split(ROWS_PER_LOSS_BLOCK)  # the logits of all tokens would be too large
        predicted = torch.cat([embed(block) for block in blocks]).view_as(hidden)
        return mixing.mix(vectors, F.pad(predicted, (0, 0, 1, 0)))

    def _embed_predictions(self, mixing: InputMixing, hidden: Tensor) -> Tensor:
        """Embed the predictions of hidden states: (N, D) -> (N, D)."""
        with torch.no_grad():
            predictions = mixing.predictions(self.projection(hidden))
        return embed_predictions(predictions, self.decoder.embedding.weight) * self.decoder.embedding.scale

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, TransformerState]:
        """Encode the source; the first step reads bos."""
        return self.first_ids(batch), TransformerState(self.encode(batch), self.source_view(batch, need_attention))

    def step(self, last_ids: Tensor, state: TransformerState) -> Step:
        """Read one id per row (N,) and score the next id."""
        hidden, attention = self.decoder.step(self.replace_copied(last_ids), state)
        return self.make_step(hidden, attention, state.view, state)

    def static_state(self, state: TransformerState, steps: int) -> TransformerState | None:
        """Copy a state into tensors of a fixed size with room for `steps` steps; None where that is impossible."""
        return state.static_state(steps, reserve_positions(self.decoder, state.cache.length + steps))
