"""Recurrent encoder-decoders with attention: tanh RNNs, LSTMs or GRUs.

The decoder reads a token, attends to the memory with its new state, and combines both to an attentional vector, from
which it predicts the next token (Luong et al. 2015, D15-1166). With `input_feeding` it also reads the attentional
vector of the previous step.

Shapes: B sentences, S source and T target positions, E embedding size, H hidden size, N = B * K rows while decoding.
"""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.config import (
    SETTINGS,
    Ability,
    EmbeddingSize,
    ModelConfig,
    Probability,
    Size,
    TokenSide,
    WarmStart,
)
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
from seqlab.nn import kernels
from seqlab.nn.copying import NO_UNK_ID, PointerGenerator
from seqlab.nn.input_mixing import InputMixing, PredictedInputs
from seqlab.nn.kv_cache import kept_sentences
from seqlab.nn.layers import EmbeddingDropout, Linear, LockedDropout
from seqlab.nn.memory_attention import AttentionKind, Memory, MemoryAttention
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import Recurrent
from seqlab.nn.recurrent_layer import RecurrentKind
from seqlab.nn.recurrent_state import Bridge, BridgeKind, RecurrentState


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentConfig(ModelConfig):
    """A recurrent translator with attention.

    Of tanh RNNs (Elman 1990), LSTMs (Hochreiter & Schmidhuber 1997; Sutskever et al. 2014) or gated recurrent units
    (Cho et al. 2014; Bahdanau et al. 2015).
    """

    family: RecurrentKind = "lstm"
    """Name of the model family: the kind of its recurrent layers."""
    hidden_size: Size = 512
    """Size of the decoder's hidden states and of the encoder's outputs; a bidirectional encoder has half of it for each
    direction."""
    embedding_size: Size | None = None
    """Size of the embeddings and of the decoder's output; null takes `hidden_size`."""
    num_encoder_layers: Size = 1
    """Number of encoder layers."""
    num_decoder_layers: Size = 1
    """Number of decoder layers."""
    bidirectional: bool = True
    """Whether the encoder is bidirectional."""
    residual: bool = False
    """Whether each layer after the first has a residual connection, where input and output have the same size."""
    attention: AttentionKind = "general"
    """Attention score: `additive` (Bahdanau et al. 2015), `dot` or `general` (Luong et al. 2015). Training with
    `additive` needs memory for a vector per pair of source and target positions."""
    rotary_cross_attention: bool = False
    """Whether rotary embeddings encode relative positions of source and target in attention (Su et al. 2021). For tasks
    whose outputs keep the order of the input; not for `additive`."""
    input_feeding: bool = True
    """Whether each step also reads the attentional vector of the previous step (Luong et al. 2015). Training then runs
    the decoder step by step, which is slower."""
    bridge: BridgeKind = "linear"
    """Initial state of the decoder: a projection of the encoder's last states, these states, or zeros."""
    tied_embeddings: EmbeddingTying = "all"
    """Embeddings that share a weight: source, target and output (`all`), target and output (`decoder`), or none."""
    dropout: Probability = 0.2
    """Dropout probability of embeddings, between layers and before the output, with one mask per sentence."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a token in a micro-step, on either side."""
    weight_dropout: Probability = 0.0
    """Dropout probability of the recurrent weights (DropConnect), drawn once per micro-step."""
    tags: TagUse = "symbols"
    """Handling of source tags, if the tokenizer has them: as tokens (`symbols`), or the sum of their embeddings is
    added to the embedding of each token (`sum`)."""
    copying: bool = False
    """Whether the decoder may copy source tokens (pointer-generator, See et al. 2017); needs a joint vocabulary."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Maximum sequence length in tokens at inference, special token included; longer inputs are split or cut."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)
    shared_fields: ClassVar[tuple[str, ...]] = ("tied_embeddings",)  # it depends on the corpus, not on the family

    @property
    def kind(self) -> RecurrentKind:
        """Kind of the recurrent layers."""
        return self.family

    @property
    def abilities(self) -> frozenset[Ability]:
        """Recurrence, attention to the source, and copying if configured."""
        copying: set[Ability] = {"copying"} if self.copying else set()
        return frozenset[Ability]({"recurrence", "source_attention"}) | copying

    @property
    def embedding(self) -> EmbeddingSize:
        """Size of the embeddings."""
        return EmbeddingSize("embedding_size", self.embedding_size or self.hidden_size)

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length in tokens."""
        return self.max_length

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs."""
        return WarmStart.of(self, recurrent_kind=self.kind)

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of tokens in the vocabulary of the target."""
        return int(tgt.vocab_size)

    def build(self, src: TokenSide, tgt: TokenSide) -> "RecurrentTranslator":
        """Build the model."""
        return RecurrentTranslator(
            self, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id, tgt.unk_id, src.tag_ids
        )

    def check_sides(self, src: TokenSide, tgt: TokenSide) -> None:
        """Raise ValueError for summed tags if the source has no tags."""
        check_tag_ids(self.tags, src.tag_ids)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        check_tying(self.tied_embeddings, data)
        check_copying(self.copying, data)
        check_tags(self.tags, data)

    @model_validator(mode="after")
    def _check(self) -> "RecurrentConfig":
        if self.hidden_size % 8:
            raise ValueError(f"`hidden_size` must be a multiple of 8, but is {self.hidden_size} instead.")
        if self.rotary_cross_attention and self.attention == "additive":
            raise ValueError("`rotary_cross_attention` needs dot products: set `attention` to `dot` or `general`.")
        return self


class _Embedding(nn.Module):
    """Token embeddings in fp32, with dropout of tokens and of features."""

    def __init__(self, weight: nn.Parameter, config: RecurrentConfig) -> None:
        super().__init__()
        self.weight = weight
        self.token_dropout = EmbeddingDropout(config.embedding_dropout, len(weight))
        self.dropout = LockedDropout(config.dropout)

    def token_mask(self) -> Tensor | None:
        """Draw a dropout mask over the vocabulary, scaled: (V, 1); None without dropout."""
        return self.token_dropout.draw_mask(self.weight.device)

    def look_up(self, ids: Tensor, token_mask: Tensor | None) -> Tensor:
        """ids (B, T) -> (B, T, E), with dropout of tokens."""
        embedded = F.embedding(ids, self.weight).float()
        return embedded if token_mask is None else embedded * token_mask[ids]

    def feature_mask(self, rows: int) -> Tensor:
        """Draw a dropout mask over features, one per sequence, scaled: (rows, 1, E)."""
        return self.dropout(self.weight.new_ones(rows, 1, self.weight.size(1)))

    def forward(self, ids: Tensor, token_mask: Tensor | None) -> Tensor:
        """ids (B, T) -> (B, T, E), with dropout of tokens and features."""
        return self.dropout(self.look_up(ids, token_mask))


class RecurrentEncoder(nn.Module):
    """Recurrent encoder: source ids to memory."""

    def __init__(self, config: RecurrentConfig, weight: nn.Parameter, tags: SourceTags) -> None:
        super().__init__()
        self.embedding, self.tags = _Embedding(weight, config), tags
        self.layers = Recurrent(
            config.kind,
            config.embedding.size,
            config.hidden_size // (2 if config.bidirectional else 1),
            config.num_encoder_layers,
            bidirectional=config.bidirectional,
            residual=config.residual,
            hidden_dropout=config.dropout,
            output_dropout=config.dropout,
            weight_dropout=config.weight_dropout,
        )

    def forward(self, src: Tensor, src_lengths: Tensor) -> tuple[Tensor, Tensor, RecurrentState]:
        """src (B, S), src_lengths (B,) -> memory (B, S, H), its lengths (B,), last states (B, H) by layer."""
        added, token_mask = None, self.embedding.token_mask()
        if self.tags.are_summed:
            look_up = partial(self.embedding.look_up, token_mask=token_mask)
            src, src_lengths, added = self.tags.remove_tags(src, src_lengths, look_up)
        x = self.embedding(src, token_mask)
        result = self.layers(x if added is None else x + added, lengths=src_lengths)
        return result.output, src_lengths, result.state.join_directions(self.layers.num_directions)


class RecurrentDecoder(nn.Module):
    """Recurrent decoder: target ids and memory to attentional vectors (Luong et al. 2015)."""

    def __init__(self, config: RecurrentConfig, weight: nn.Parameter) -> None:
        super().__init__()
        self.embedding = _Embedding(weight, config)
        self.input_feeding = config.input_feeding
        size = config.embedding.size
        self.layers = Recurrent(
            config.kind,
            2 * size if config.input_feeding else size,
            config.hidden_size,
            config.num_decoder_layers,
            residual=config.residual,
            hidden_dropout=config.dropout,
            weight_dropout=config.weight_dropout,
        )
        self.attention = MemoryAttention(config.attention, config.hidden_size, config.rotary_cross_attention)
        self.combine = Linear(2 * config.hidden_size, size)
        nn.init.xavier_uniform_(self.combine.weight)
        nn.init.zeros_(self.combine.bias)

    def forward(
        self, tgt_in: Tensor, memory: Memory, start: RecurrentState, mix: Callable[..., PredictedInputs] | None = None
    ) -> tuple[Tensor, Tensor]:
        """tgt_in (B, T) -> attentional vectors (B, T, E) and attention weights over the memory (B, T, S).

        `mix` (scheduled sampling) makes a `PredictedInputs` from the embedding weight and the dropout masks, which are
        the same for references and predictions.
        """
        feature_mask, token_mask = self.embedding.feature_mask(len(tgt_in)), self.embedding.token_mask()
        x = self.embedding.look_up(tgt_in, token_mask) * feature_mask
        predicted = None if mix is None else mix(self.embedding.weight, feature_mask[:, 0], token_mask)
        if self.input_feeding or predicted is not None:
            return self._run_stepwise(x, memory, start, predicted)
        hidden = self.layers(x, start).output
        context, weights = self.attention(hidden, memory)
        return _attentional_vectors(hidden, context, self.combine), weights

    def _run_stepwise(
        self, x: Tensor, memory: Memory, state: RecurrentState, predicted: PredictedInputs | None
    ) -> tuple[Tensor, Tensor]:
        """Run the decoder step by step over embeddings x (B, T, E), for input feeding or scheduled sampling."""
        step, attend = self.layers.repeated_step(len(x)), self.attention.repeated_step(memory)
        combine = kernels.repeated_linear(self.combine.weight, self.combine.bias)
        vector, vectors, weights = torch.zeros_like(x[:, 0]), [], []
        for position, embedded in enumerate(x.unbind(1)):
            if predicted is not None and position > 0:
                embedded = predicted.mix(embedded, vector, position)
            hidden, state = step(torch.cat((embedded, vector), dim=1) if self.input_feeding else embedded, state)
            context, step_weights = attend(hidden[:, None], position)  # (B, 1, H), (B, 1, S)
            vector = _attentional_vectors(hidden, context[:, 0], combine)
            vectors.append(vector)
            weights.append(step_weights)
        return torch.stack(vectors, dim=1), torch.cat(weights, dim=1)

    def step(self, last_ids: Tensor, state: "RecurrentDecoderState") -> tuple[Tensor, Tensor]:
        """last_ids (N,) -> attentional vectors (N, E) and attention weights (N, S); updates the state in place."""
        x = self.embedding(last_ids[:, None], None)[:, 0]
        x = x if state.vector is None else torch.cat((x, state.vector), dim=1)
        hidden, state.recurrent = self.layers.step(x, state.recurrent)
        query = hidden.unflatten(0, (len(state.memory.keys), -1))  # (B, K, H)
        context, weights = (x.flatten(0, 1) for x in self.attention.step(query, state.memory, state.position))
        vectors = _attentional_vectors(hidden, context, self.combine)
        state.position += 1
        if state.vector is not None:
            state.vector = vectors
        return vectors, weights


def _attentional_vectors(hidden: Tensor, context: Tensor, combine: Callable[[Tensor], Tensor]) -> Tensor:
    """Combine hidden states and context vectors, (..., H) each, into attentional vectors (..., E)."""
    return torch.tanh(combine(torch.cat((hidden.float(), context), dim=-1)).float())


@plain_dataclass
class RecurrentDecoderState:
    """Decoding state of N = B * K rows: K hypotheses of each of B sentences, sentence by sentence."""

    recurrent: RecurrentState
    vector: Tensor | None
    """(N, E): attentional vectors of the last step; None without input feeding."""
    memory: Memory
    """The memory, with one row for each sentence."""
    view: SourceView
    position: int = 0
    """Position of the next token."""

    def select(self, rows: Tensor) -> "RecurrentDecoderState":
        """Keep, reorder or repeat rows; the memory is copied only when a sentence is removed."""
        kept = kept_sentences(rows, len(self.recurrent.hidden[0]), len(self.memory.keys))
        self.recurrent = self.recurrent.select(rows)
        if self.vector is not None:
            self.vector = self.vector.index_select(0, rows)
        if kept is not None:
            self.memory = self.memory.select(kept)
            self.view = self.view.select(kept)
        return self

    def fork(self) -> "RecurrentDecoderState":
        """Return an independent copy; it shares all tensors, because steps replace them instead of changing them."""
        return replace(self)


class RecurrentTranslator(EncoderDecoder):
    """Recurrent encoder-decoder with attention; a `Stepper`, `Scorer` and `MixingDecoder`."""

    def __init__(
        self,
        config: RecurrentConfig,
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
            lambda rows: torch.empty(rows, config.embedding.size).uniform_(-0.1, 0.1),
        )
        self.source_tags = SourceTags(config.tags, tag_ids, eos_id)
        self.encoder = RecurrentEncoder(config, weights.src, self.source_tags)
        self.bridge = Bridge(
            config.bridge, config.kind, config.hidden_size, config.num_encoder_layers, config.num_decoder_layers
        )
        self.decoder = RecurrentDecoder(config, weights.tgt)
        self.output_dropout = LockedDropout(config.dropout)
        self.projection = VocabularyProjection(weights.out)
        self.copying = (
            PointerGenerator(config.embedding.size, tgt_vocab_size, eos_id, unk_id, tag_ids) if config.copying else None
        )

    def encode(self, batch: Seq2SeqBatch) -> tuple[Memory, RecurrentState]:
        """Run the encoder: the memory for attention, and the initial state of the decoder."""
        memory, lengths, last = self.encoder(self.replace_copied(batch.src), batch.src_lengths)
        return self.decoder.attention.prepare(memory, lengths), self.bridge(last)

    def forward(
        self, batch: Seq2SeqBatch, need_attention: bool = False, mixing: InputMixing | None = None
    ) -> DecoderOutput:
        """Run one teacher-forced pass: hidden states (B, T, E) and attention, which is always returned.

        With `mixing` (scheduled sampling) the decoder reads its own prediction instead of some reference tokens.
        """
        assert batch.tgt_in is not None, "a teacher-forced pass needs a target"
        mix = None if mixing is None else partial(PredictedInputs, mixing, self.projection)
        vectors, attention = self.decoder(self.replace_copied(batch.tgt_in), *self.encode(batch), mix)
        return self.make_output(batch, self.output_dropout(vectors), attention, vectors)

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, RecurrentDecoderState]:
        """Encode the source; the first step reads bos."""
        memory, recurrent = self.encode(batch)
        size = self.config.embedding.size
        vector = memory.values.new_zeros(len(batch), size) if self.config.input_feeding else None
        view = self.source_view(batch, need_attention)
        return self.first_ids(batch), RecurrentDecoderState(recurrent, vector, memory, view)

    def step(self, last_ids: Tensor, state: RecurrentDecoderState) -> Step:
        """Read one id per row (N,) and score the next id."""
        vectors, weights = self.decoder.step(self.replace_copied(last_ids), state)
        return self.make_step(vectors, weights, state.view, state)
