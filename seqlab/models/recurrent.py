"""Recurrent translators: an encoder of tanh RNNs, LSTMs or GRUs and a decoder that attends to it.

The decoder reads a symbol, then attends to the memory with its new state, and predicts from both (Luong et al. 2015,
D15-1166). Where its input is fed (`input_feeding`), it also reads what was attended to one step before.

Shapes: B sentences, S source and T target positions, E embedding size, H hidden size, N = B * K rows while decoding.
"""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.config import SETTINGS, ModelConfig, Probability, Size, TokenSide
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
    """The fields that all families of recurrent translators have."""

    hidden_size: Size = 512
    """Size of the decoder's states and of what the encoder gives, of which each direction has one half."""
    embedding_size: Size | None = None
    """Size of the embeddings, and of what the decoder predicts from; null takes `hidden_size`."""
    num_encoder_layers: Size = 1
    """Layers of the encoder."""
    num_decoder_layers: Size = 1
    """Layers of the decoder."""
    bidirectional: bool = True
    """Whether the encoder also reads from the end, half of its states for each direction."""
    residual: bool = False
    """Whether each layer after the first adds its input to its output, where both are equally wide."""
    attention: AttentionKind = "general"
    """How the decoder's state is compared with the encoder's: `additive` (Bahdanau et al. 2015), `dot` or `general`
    (Luong et al. 2015). Training with `additive` holds a vector for each pair of positions."""
    rotary_cross_attention: bool = False
    """Whether attention is told by rotation how far a position of the source is from the target's: for tasks that keep
    the order of their symbols, and not for `additive`."""
    input_feeding: bool = True
    """Whether each step also reads what the one before predicted from, so that it knows what was attended to. Steps
    then follow one another in training too, which takes longer."""
    bridge: BridgeKind = "linear"
    """What the decoder starts from: a projection of the encoder's last states, these states themselves, or zeros."""
    tied_embeddings: EmbeddingTying = "all"
    """Which embeddings share a weight: source, target and output (`all`), target and output (`decoder`), or none."""
    dropout: Probability = 0.2
    """Probability of dropping a feature, of embeddings, between layers and before prediction, throughout a sentence."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a symbol in a micro-step, on either side."""
    weight_dropout: Probability = 0.0
    """Probability of dropping an element of the recurrent matrices, anew in each micro-step."""
    tags: TagUse = "symbols"
    """What becomes of tags in the source, where the tokenizer has them: read as symbols behind it, or the sum of their
    embeddings is added to that of each symbol."""
    copying: bool = False
    """Whether the decoder also points at symbols of the source to be copied (See et al. 2017); with one vocabulary."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Longest sequence in tokens, special id counted, that inference reads and writes: longer input is cut."""

    task: ClassVar[str] = "translation"
    is_recurrent: ClassVar[bool] = True
    attends_to_source: ClassVar[bool] = True
    embedding_field: ClassVar[str] = "embedding_size"
    kind: ClassVar[RecurrentKind]

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has."""
        return self.embedding_size or self.hidden_size

    @property
    def context_limit(self) -> int | None:
        """Tokens of the longest sequence that the model reads."""
        return self.max_length

    @property
    def copies(self) -> bool:
        """Whether it copies from the source."""
        return self.copying

    def decoder_name(self, name: str) -> str | None:
        """Name a weight of the decoder."""
        return name if name.startswith("decoder.") else None

    def build(self, src: TokenSide, tgt: TokenSide) -> "RecurrentTranslator":
        """Build the model."""
        return RecurrentTranslator(
            self, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id, tgt.unk_id, src.tag_ids
        )

    def check_sides(self, src: TokenSide, tgt: TokenSide) -> None:
        """Raise ValueError where tags are to be summed, but the source has none."""
        check_tag_ids(self.tags, src.tag_ids)

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        check_tying(self.tied_embeddings, data)
        check_copying(self.copying, data)
        check_tags(self.tags, data)

    @model_validator(mode="after")
    def _check(self) -> "RecurrentConfig":
        if self.hidden_size % 8:
            raise ValueError(f"`hidden_size` must be a multiple of 8, but is {self.hidden_size} instead.")
        if self.rotary_cross_attention and self.attention == "additive":
            raise ValueError("`rotary_cross_attention` needs products: `attention: dot` or `general`.")
        return self


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RnnConfig(RecurrentConfig):
    """A translator of tanh RNNs (Elman 1990)."""

    family: Literal["rnn"] = "rnn"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "rnn"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmConfig(RecurrentConfig):
    """A translator of LSTMs (Hochreiter & Schmidhuber 1997; Sutskever et al. 2014)."""

    family: Literal["lstm"] = "lstm"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruConfig(RecurrentConfig):
    """A translator of gated recurrent units (Cho et al. 2014; Bahdanau et al. 2015)."""

    family: Literal["gru"] = "gru"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "gru"


class _Embedding(nn.Module):
    """Look tokens up, in fp32, and drop some of them, or of their features."""

    def __init__(self, weight: nn.Parameter, config: RecurrentConfig) -> None:
        super().__init__()
        self.weight = weight
        self.token_dropout = EmbeddingDropout(config.embedding_dropout, len(weight))
        self.dropout = LockedDropout(config.dropout)

    def token_mask(self) -> Tensor | None:
        """Draw the dropout of whole tokens, scaled: (V, 1); None where all stay."""
        return self.token_dropout.draw(self.weight.device)

    def look_up(self, ids: Tensor, token_mask: Tensor | None) -> Tensor:
        """ids (B, T) -> (B, T, E), of which some tokens are dropped."""
        embedded = F.embedding(ids, self.weight).float()
        return embedded if token_mask is None else embedded * token_mask[ids]

    def feature_mask(self, rows: int) -> Tensor:
        """Draw the dropout of features throughout a sequence, scaled: (rows, 1, E)."""
        return self.dropout(self.weight.new_ones(rows, 1, self.weight.size(1)))

    def forward(self, ids: Tensor, token_mask: Tensor | None) -> Tensor:
        """ids (B, T) -> (B, T, E), of which some tokens and features are dropped."""
        return self.dropout(self.look_up(ids, token_mask))


class RecurrentEncoder(nn.Module):
    """Source ids to memory."""

    def __init__(self, config: RecurrentConfig, weight: nn.Parameter, tags: SourceTags) -> None:
        super().__init__()
        self.embedding, self.tags = _Embedding(weight, config), tags
        self.layers = Recurrent(
            config.kind,
            config.embedding_dim,
            config.hidden_size // (2 if config.bidirectional else 1),
            config.num_encoder_layers,
            bidirectional=config.bidirectional,
            residual=config.residual,
            hidden_dropout=config.dropout,
            output_dropout=config.dropout,
            weight_dropout=config.weight_dropout,
        )

    def forward(self, src: Tensor, src_lengths: Tensor) -> tuple[Tensor, Tensor, RecurrentState]:
        """src (B, S), src_lengths (B,) -> memory (B, S, H), its lengths (B,) and each layer's last state (B, H)."""
        added, token_mask = None, self.embedding.token_mask()
        if self.tags.are_summed:
            look_up = partial(self.embedding.look_up, token_mask=token_mask)
            src, src_lengths, added = self.tags.take_out(src, src_lengths, look_up)
        x = self.embedding(src, token_mask)
        read = self.layers(x if added is None else x + added, lengths=src_lengths)
        return read.output, src_lengths, read.state.join_directions(self.layers.num_directions)


class RecurrentDecoder(nn.Module):
    """Target ids and memory to what is predicted from, the attentional vectors of Luong et al."""

    def __init__(self, config: RecurrentConfig, weight: nn.Parameter) -> None:
        super().__init__()
        self.embedding = _Embedding(weight, config)
        self.input_feeding = config.input_feeding
        size = config.embedding_dim
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
        """tgt_in (B, T) -> attentional vectors (B, T, E) and weights over the memory (B, T, S).

        `mix` (scheduled sampling): makes what reads predictions in place of some references, from the embedding and the
        dropout masks, which are drawn once for both.
        """
        feature_mask, token_mask = self.embedding.feature_mask(len(tgt_in)), self.embedding.token_mask()
        x = self.embedding.look_up(tgt_in, token_mask) * feature_mask
        own = None if mix is None else mix(self.embedding.weight, feature_mask[:, 0], token_mask)
        if self.input_feeding or own is not None:
            return self._stepwise(x, memory, start, own)
        hidden = self.layers(x, start).output
        context, weights = self.attention(hidden, memory)
        return _attentional(hidden, context, self.combine), weights

    def _stepwise(
        self, x: Tensor, memory: Memory, state: RecurrentState, own: PredictedInputs | None
    ) -> tuple[Tensor, Tensor]:
        """Read embeddings x (B, T, E) one after the other, each perhaps with the attentional vector from before it."""
        read, attend = self.layers.repeated_step(len(x)), self.attention.repeated_step(memory)
        combine = kernels.repeated_linear(self.combine.weight, self.combine.bias)
        vector, vectors, weights = torch.zeros_like(x[:, 0]), [], []
        for position, embedded in enumerate(x.unbind(1)):
            if own is not None and position > 0:
                embedded = own.mix(embedded, vector, position)
            hidden, state = read(torch.cat((embedded, vector), dim=1) if self.input_feeding else embedded, state)
            context, weights_here = attend(hidden[:, None], position)  # (B, 1, H), (B, 1, S)
            vector = _attentional(hidden, context[:, 0], combine)
            vectors.append(vector)
            weights.append(weights_here)
        return torch.stack(vectors, dim=1), torch.cat(weights, dim=1)

    def step(self, last_ids: Tensor, state: "RecurrentDecoderState") -> tuple[Tensor, Tensor]:
        """last_ids (N,) -> attentional vectors (N, E) and weights (N, S); the state becomes the one after them."""
        x = self.embedding(last_ids[:, None], None)[:, 0]
        x = x if state.vector is None else torch.cat((x, state.vector), dim=1)
        hidden, state.recurrent = self.layers.step(x, state.recurrent)
        query = hidden.unflatten(0, (len(state.memory.keys), -1))  # (B, K, H)
        context, weights = (x.flatten(0, 1) for x in self.attention.step(query, state.memory, state.position))
        vectors = _attentional(hidden, context, self.combine)
        state.position += 1
        if state.vector is not None:
            state.vector = vectors
        return vectors, weights


def _attentional(hidden: Tensor, context: Tensor, combine: Callable[[Tensor], Tensor]) -> Tensor:
    """Combine states and what they attend to, (..., H) each, to attentional vectors (..., E) (Luong et al. 2015)."""
    return torch.tanh(combine(torch.cat((hidden.float(), context), dim=-1)).float())


@plain_dataclass
class RecurrentDecoderState:
    """What the decoder remembers of N rows, hypotheses of B sentences in turn, equally many each."""

    recurrent: RecurrentState
    vector: Tensor | None
    """(N, E), the last attentional vectors where the input is fed."""
    memory: Memory
    """One for each sentence."""
    view: SourceView
    position: int = 0
    """Of the symbol that is read next."""

    def select(self, rows: Tensor) -> "RecurrentDecoderState":
        """Keep, reorder or repeat rows; the memory is copied only where a sentence leaves."""
        kept = kept_sentences(rows, len(self.recurrent.hidden[0]), len(self.memory.keys))
        self.recurrent = self.recurrent.select(rows)
        if self.vector is not None:
            self.vector = self.vector.index_select(0, rows)
        if kept is not None:
            self.memory = self.memory.select(kept)
            self.view = self.view.select(kept)
        return self

    def fork(self) -> "RecurrentDecoderState":
        """Copy what a step replaces; tensors are never written to and are shared."""
        return replace(self)


class RecurrentTranslator(EncoderDecoder):
    """Encoder, bridge and decoder; a `Stepper` and a `Scorer`."""

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
        """Build the layers; `unk_id`: what a model that copies reads unknown words as; `tag_ids`: of the source."""
        super().__init__()
        self.config, self.vocab_size, self.bos_id, self.eos_id = config, tgt_vocab_size, bos_id, eos_id
        weights = make_embeddings(
            config.tied_embeddings,
            src_vocab_size,
            tgt_vocab_size,
            lambda rows: torch.empty(rows, config.embedding_dim).uniform_(-0.1, 0.1),
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
            PointerGenerator(config.embedding_dim, tgt_vocab_size, eos_id, unk_id, tag_ids) if config.copying else None
        )

    def encode(self, batch: Seq2SeqBatch) -> tuple[Memory, RecurrentState]:
        """Give what the decoder attends to, and the state that it starts from."""
        memory, lengths, last = self.encoder(self.readable(batch.src), batch.src_lengths)
        return self.decoder.attention.prepare(memory, lengths), self.bridge(last)

    def forward(
        self, batch: Seq2SeqBatch, need_attention: bool = False, mixing: InputMixing | None = None
    ) -> DecoderOutput:
        """Run one teacher-forced pass: what is predicted from (B, T, E), what maps it to the vocabulary, attention.

        The attention is there whether it is needed or not. With `mixing` the decoder reads what it has just predicted
        in the place of some references.
        """
        assert batch.tgt_in is not None, "a teacher-forced pass needs a target"
        mix = None if mixing is None else partial(PredictedInputs, mixing, self.projection)
        vectors, attention = self.decoder(self.readable(batch.tgt_in), *self.encode(batch), mix)
        return self.output(batch, self.output_dropout(vectors), attention, vectors)

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, RecurrentDecoderState]:
        """Encode the source; the first step reads bos."""
        memory, recurrent = self.encode(batch)
        size = self.config.embedding_dim
        vector = memory.values.new_zeros(len(batch), size) if self.config.input_feeding else None
        return self.first_ids(batch), RecurrentDecoderState(recurrent, vector, memory, self.view(batch, need_attention))

    def step(self, last_ids: Tensor, state: RecurrentDecoderState) -> Step:
        """Read one id per row (N,) and score the next."""
        vectors, weights = self.decoder.step(self.readable(last_ids), state)
        return self.scored(vectors, weights, state.view, state)
