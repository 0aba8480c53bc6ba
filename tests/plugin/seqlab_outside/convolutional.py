"""A convolutional encoder-decoder with attention in each layer of the decoder (Gehring et al. 2017, arXiv:1705.03122).

A convolution is a linear layer over windows of positions. So training, which computes all windows at once, and a step
of decoding, which computes the last window, use the same matrix product. Without the paper's weight normalization.

Shapes: B sentences, S source and T target positions, D d_model, W kernel_size, N = B * K rows while decoding.
"""

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.config import SETTINGS, Ability, EmbeddingSize, ModelConfig, Probability, Size, TokenSide
from seqlab.models.encoder_decoder import NO_TAGS, EmbeddingTying, check_tying, make_embeddings
from seqlab.models.interfaces import Step
from seqlab.models.outputs import DecoderOutput
from seqlab.nn import kernels, masks
from seqlab.nn.embedding import Embedding
from seqlab.nn.kv_cache import kept_sentences
from seqlab.nn.layers import Dropout, Linear
from seqlab.nn.memory_attention import Memory, MemoryAttention
from seqlab.nn.projection import VocabularyProjection

SQRT_HALF = 0.5**0.5
"""Factor that keeps the variance when two terms of equal variance are added."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ConvolutionalConfig(ModelConfig):
    """A convolutional encoder-decoder."""

    family: Literal["convolutional"] = "convolutional"
    """Name of the model family."""
    d_model: Size = 256
    """Size of the embeddings and of all layers."""
    kernel_size: Size = 3
    """Number of positions in the window of each layer; an odd number."""
    num_encoder_layers: Size = 4
    """Number of encoder layers."""
    num_decoder_layers: Size = 4
    """Number of decoder layers, each with attention to the source."""
    dropout: Probability = 0.1
    """Dropout probability of the embeddings and of each layer's input."""
    tied_embeddings: EmbeddingTying = "all"
    """Embeddings that share a weight: source, target and output (`all`), target and output (`decoder`), or none."""
    max_length: Annotated[int, Field(ge=2)] = 512
    """Maximum sequence length in tokens, including special tokens. Inference truncates longer input."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)

    @property
    def abilities(self) -> frozenset[Ability]:
        """Attention to the source."""
        return frozenset({"source_attention"})

    @property
    def embedding(self) -> EmbeddingSize:
        """Size of the embeddings."""
        return EmbeddingSize("d_model", self.d_model)

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length in tokens."""
        return self.max_length

    def build(self, src: TokenSide, tgt: TokenSide) -> "ConvolutionalTranslator":
        """Build the model."""
        return ConvolutionalTranslator(self, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        check_tying(self.tied_embeddings, data)

    @model_validator(mode="after")
    def _check(self) -> "ConvolutionalConfig":
        if self.kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, but is {self.kernel_size} instead.")
        return self


class GatedConvolution(nn.Module):
    """Convolution over windows of W positions with a gated linear unit."""

    def __init__(self, config: ConvolutionalConfig) -> None:
        super().__init__()
        self.dropout, self.linear = (
            Dropout(config.dropout),
            Linear(config.kernel_size * config.d_model, 2 * config.d_model),
        )
        nn.init.normal_(self.linear.weight, std=2 * (config.kernel_size * config.d_model) ** -0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T + W - 1, D) -> (B, T, D): output t is computed from inputs t to t + W - 1."""
        length = x.size(1) - self.linear.in_features // x.size(2) + 1
        windows = self.dropout(x).unfold(1, x.size(1) - length + 1, 1)  # (B, T, D, W)
        return F.glu(self.linear(windows.flatten(2)).float(), dim=-1)


class Encoder(nn.Module):
    """Convolutional encoder of source ids, which returns keys and values for attention."""

    def __init__(self, config: ConvolutionalConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding, self.padding = embedding, config.kernel_size // 2
        self.layers = nn.ModuleList(GatedConvolution(config) for _ in range(config.num_encoder_layers))

    def forward(self, src: Tensor, src_lengths: Tensor) -> Memory:
        """Return the last layer as keys, and its sum with the embeddings as values; padding is 0 in each layer."""
        embedded = self.embedding(src)
        padding = masks.padding_mask(src_lengths, src.size(1))
        x = embedded
        for layer in self.layers:
            x = x.masked_fill(padding[..., None], 0.0)
            x = (x + layer(F.pad(x, (0, 0, self.padding, self.padding)))) * SQRT_HALF
        keys, values = (kernels.prepare_keys(x, x.size(2)) for x in (x, (x + embedded) * SQRT_HALF))
        return Memory(keys, values, masks.additive(~masks.padding_mask(src_lengths, keys.size(1)))[:, None])


class DecoderLayer(nn.Module):
    """A causal convolution, then attention to the source."""

    def __init__(self, config: ConvolutionalConfig) -> None:
        super().__init__()
        size = config.d_model
        self.convolution, self.attention = GatedConvolution(config), MemoryAttention("dot", size)
        self.query, self.combine = Linear(size, size), Linear(size, size)

    def forward(self, windows: Tensor, embedded: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return hidden states (N, T, D) and attention weights (N, T, S).

        windows: (N, T + W - 1, D); embedded: embeddings of the target (N, T, D); N is B or B * K.
        """
        hidden = self.convolution(windows)
        query = (self.query(hidden).float() + embedded) * (SQRT_HALF * hidden.size(2) ** -0.5)
        context, weights = self.attention(query.view(len(memory.keys), -1, hidden.size(2)), memory)
        hidden = (hidden + self.combine(context).view_as(hidden)) * SQRT_HALF
        last = windows[:, -hidden.size(1) :]
        return (last + hidden) * SQRT_HALF, weights.view(*hidden.shape[:2], -1)


class Decoder(nn.Module):
    """Convolutional decoder: target embeddings and encoder output to hidden states. A decoding step has T = 1."""

    def __init__(self, config: ConvolutionalConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding, self.past_shape = embedding, (config.kernel_size - 1, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.output, self.dropout = Linear(config.d_model, config.d_model), Dropout(config.dropout)

    def initial_past(self, rows: int, device: torch.device) -> list[Tensor]:
        """Return the input of each layer before the first position: zeros (N, W - 1, D)."""
        return [torch.zeros(rows, *self.past_shape, device=device) for _ in self.layers]

    def forward(self, embedded: Tensor, memory: Memory, past: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return hidden states (N, T, D), the last layer's attention (N, T, S) and the past of each layer.

        embedded: (N, T, D); past: the last W - 1 inputs of each layer, (N, W - 1, D) each.
        """
        x, weights, next_past = embedded, embedded, []
        for layer, layer_past in zip(self.layers, past, strict=True):
            windows = torch.cat((layer_past, x), dim=1)
            next_past.append(windows[:, x.size(1) :])
            x, weights = layer(windows, embedded, memory)
        return self.dropout(self.output(x)), weights, next_past


@plain_dataclass(frozen=True)
class DecoderState:
    """Immutable decoder state of N rows: the same number of hypotheses for each of B sentences, in order."""

    past: list[Tensor]
    """The last inputs of each layer: (N, W - 1, D)."""
    memory: Memory
    """Encoder output of the B sentences."""
    attention_size: int
    """Number of source positions whose attention weights are returned; 0 for none."""
    position: int = 0
    """Position of the next input id."""

    def select(self, rows: Tensor) -> "DecoderState":
        """Keep, reorder or repeat rows; the memory is copied only if sentences are removed."""
        kept = kept_sentences(rows, len(self.past[0]), len(self.memory.keys))
        memory = self.memory if kept is None else self.memory.select(kept)
        return replace(self, past=[each.index_select(0, rows) for each in self.past], memory=memory)

    def fork(self) -> "DecoderState":
        """Return the state itself, since steps do not modify it."""
        return self


class ConvolutionalTranslator(nn.Module):
    """Convolutional translator; implements `Stepper` and `Scorer`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """Name of each side's embedding weight, which can be initialized with word vectors."""

    def __init__(
        self, config: ConvolutionalConfig, src_vocab_size: int, tgt_vocab_size: int, bos_id: int, eos_id: int
    ) -> None:
        super().__init__()
        self.vocab_size, self.bos_id, self.eos_id = tgt_vocab_size, bos_id, eos_id
        src, tgt, out = make_embeddings(
            config.tied_embeddings,
            src_vocab_size,
            tgt_vocab_size,
            lambda rows: torch.empty(rows, config.d_model).normal_(std=config.d_model**-0.5),
        )
        self.encoder = Encoder(config, Embedding(src, "sinusoidal", config.max_length, config.dropout))
        self.decoder = Decoder(config, Embedding(tgt, "sinusoidal", config.max_length, config.dropout))
        self.projection = VocabularyProjection(out)

    def forward(self, batch: Seq2SeqBatch, need_attention: bool = False) -> DecoderOutput:
        """Run one teacher-forced pass; the output always has attention weights."""
        assert batch.tgt_in is not None, "a teacher-forced pass needs a target"
        memory, embedded = self.encoder(batch.src, batch.src_lengths), self.decoder.embedding(batch.tgt_in)
        hidden, weights, _ = self.decoder(embedded, memory, self.decoder.initial_past(len(batch), embedded.device))
        return DecoderOutput(
            hidden,
            self.projection,
            attention=weights[..., : batch.src.size(1)],
            relative_src_positions=NO_TAGS.relative_positions(batch.src, batch.src_lengths),
        )

    def score(self, batch: Seq2SeqBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at padding."""
        assert batch.tgt_out is not None, "scoring needs a target"
        output: DecoderOutput = self(batch)
        return output.scores(batch.tgt_out)

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, DecoderState]:
        """Encode the source; return the bos ids of the first step and the initial state."""
        past = self.decoder.initial_past(len(batch), batch.src.device)
        memory = self.encoder(batch.src, batch.src_lengths)
        state = DecoderState(past, memory, batch.src.size(1) if need_attention else 0)
        return batch.src.new_full((len(batch),), self.bos_id), state

    def step(self, last_ids: Tensor, state: DecoderState) -> Step:
        """Read one id per row (N,) and score the next id."""
        embedded = self.decoder.embedding(last_ids[:, None], state.position)
        hidden, weights, past = self.decoder(embedded, state.memory, state.past)
        attention = weights[:, 0, : state.attention_size] if state.attention_size else None
        scores = self.projection.log_probs(hidden[:, 0])
        return Step(scores, replace(state, past=past, position=state.position + 1), attention)
