"""Language models of an encoder: autoregressive, regularized as in AWD-LSTM (Merity et al. 2018), or masked (BERT).

Shapes: B rows of text, T positions, E embedding size, N rows while decoding.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

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
from seqlab.models.encoder import EncoderConfig, EncoderModelConfig
from seqlab.models.interfaces import Step
from seqlab.models.outputs import DecoderOutput
from seqlab.models.recurrent_encoder import RecurrentEncoderConfig
from seqlab.models.uncached import UncachedLm
from seqlab.nn.layers import EmbeddingDropout
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import RecurrentOutput
from seqlab.nn.recurrent_state import RecurrentState

DEFAULT_SIZE = 512
"""Default size of embeddings for encoders whose output size is not set."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EncoderLmConfig(LanguageModelConfig, EncoderModelConfig):
    """A language model of an encoder that reads forward only, or of another one for masked tokens."""

    family: Literal["language_model"] = "language_model"
    """Name of the model family."""
    encoder: EncoderConfig = Field(
        default_factory=lambda: RecurrentEncoderConfig(
            family="lstm", hidden_size=512, num_layers=2, bidirectional=False, dropout=0.1, output_dropout=0.1
        )
    )
    """Encoder, chosen by its `family`."""
    embedding_size: Size | None = None
    """Size of the embeddings, and with `tied_embeddings` also of the encoder's outputs; null takes the size of the
    outputs."""
    tied_embeddings: bool = True
    """Whether the output projection shares the weight of the embeddings."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a token in a micro-step."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """Recurrence, a state that is carried, and masked tokens, as the encoder has them."""
        encoder = self.encoder
        flags: dict[Ability, bool] = {
            "recurrence": bool(encoder.recurrent_kind),
            "contiguous": encoder.carries_state,
            "masked_tokens": not encoder.is_causal,
        }
        return frozenset(name for name, has_it in flags.items() if has_it)

    @property
    def embedding(self) -> EmbeddingSize:
        """Size of the embeddings."""
        encoder = self.encoder
        field = "embedding_size" if encoder.input_size is None else f"encoder.{encoder.input_field}"
        sizes = self.embedding_size, encoder.input_size, encoder.configured_output_size
        return EmbeddingSize(field, next(filter(None, sizes), DEFAULT_SIZE))

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs: its weights are those of a translator."""
        return replace(super().warm_start, translator_name=_decoder_name if self.encoder.is_causal else _encoder_name)

    def build(self, src: TokenSide, tgt: TokenSide) -> "EncoderLm | MaskedLm":
        """Build the model: masked if its encoder reads in both directions."""
        if not self.encoder.is_causal:
            return MaskedLm(self, tgt)
        return CarryingLm(self, tgt) if self.encoder.carries_state else EncoderLm(self, tgt)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        family, limit = self.encoder.family, self.encoder.context_limit
        if not self.encoder.relates_positions:
            raise ValueError(
                f"`model.encoder.family: {family}` reads each token by itself, but a language model predicts tokens "
                "from others: choose an encoder of sequences, such as `lstm`."
            )
        if self.encoder.is_causal:
            super().check_data(data)
        elif not data.mask_share:
            raise ValueError(
                f"`model.encoder.family: {family}` reads later tokens, too, which a language model must predict: mask "
                "tokens (`data.mask_share: 0.15`), choose an encoder that reads forward only, such as `lstm` with "
                "`model.encoder.bidirectional: false`, or set `model.family: transformer_lm`."
            )
        if data.packing:
            raise ValueError(
                "`data.packing` needs a model with attention masks, which separate the lines of a row, but "
                f"`model.family: {self.family}` has none: remove it, or set `model.family: transformer_lm`."
            )
        if limit is not None and data.block_length > limit:
            raise ValueError(
                f"`data.block_length` ({data.block_length}) must be at most `model.encoder.max_length` ({limit})."
            )


def _decoder_name(name: str) -> str | None:
    """Map the name of a weight to its name in the decoder of a translator; None for other weights."""
    if name == "weight":
        return "decoder.embedding.weight"
    return f"decoder.{name.removeprefix('encoder.')}" if name.startswith("encoder.layers.") else None


def _encoder_name(name: str) -> str | None:
    """Map the name of a weight to its name in the encoder of a translator; None for other weights."""
    if name == "weight":
        return "encoder.embedding.weight"
    if name.startswith("encoder.positions."):
        return f"encoder.embedding.{name.removeprefix('encoder.')}"
    return name if name.startswith("encoder.") else None


class _TokenEncoder(nn.Module):
    """Token embeddings, an encoder, and an output projection."""

    embeddings: ClassVar[dict[str, str]] = {"tgt": "weight"}
    """Names of the embedding parameters of the source and target side."""

    def _add_layers(self, config: EncoderLmConfig, tgt: TokenSide) -> None:
        size, encoder = config.embedding.size, config.encoder
        weight = _embedding_weight(tgt.vocab_size, size, encoder)
        self.config, self.weight = config, weight
        self.scale = size**0.5 if encoder.embedding_range is None else 1.0
        self.embedding_dropout = EmbeddingDropout(config.embedding_dropout, tgt.vocab_size)
        self.encoder = (encoder.with_output_size(size) if config.tied_embeddings else encoder).build(size)
        encoder.init_weights(self.encoder)
        if not config.tied_embeddings:
            weight = _embedding_weight(tgt.vocab_size, self.encoder.output_size, encoder)
        elif self.encoder.output_size != size:
            raise ValueError(
                f"`model.tied_embeddings` needs outputs of the size of the embeddings ({size}), but those of the "
                f"encoder have {self.encoder.output_size}: set `model.embedding_size: {self.encoder.output_size}`, or "
                "`model.tied_embeddings: false`."
            )
        self.projection = VocabularyProjection(weight)

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> vectors (B, T, E)."""
        x = self.embedding_dropout(F.embedding(ids, self.weight).float(), ids)
        entered: Tensor = self.encoder.enter(x if self.scale == 1 else x * self.scale)
        return entered


def _embedding_weight(rows: int, size: int, encoder: EncoderConfig) -> nn.Parameter:
    """Draw embeddings (rows, size) as the encoder needs them."""
    weight, limit = torch.empty(rows, size), encoder.embedding_range
    return nn.Parameter(weight.normal_(std=size**-0.5) if limit is None else weight.uniform_(-limit, limit))


class MaskedLm(_TokenEncoder):
    """Masked language model (Devlin et al. 2019): an encoder predicts masked tokens from both sides; a `Scorer`."""

    def __init__(self, config: EncoderLmConfig, tgt: TokenSide) -> None:
        super().__init__()
        self.vocab_size, self.pad_id = tgt.vocab_size, tgt.pad_id
        self._add_layers(config, tgt)

    def forward(self, batch: TextBatch) -> DecoderOutput:
        """Run one pass over rows with masked tokens: hidden states (B, T, D)."""
        lengths = (batch.tgt_in != self.pad_id).sum(1)
        hidden, _ = self.encoder(self.embed(batch.tgt_in), lengths)
        return DecoderOutput(hidden, self.projection)

    def score(self, batch: TextBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at ignored positions."""
        return self(batch).scores(batch.tgt_out)


class EncoderLm(_TokenEncoder, UncachedLm):
    """Language model of an encoder; each step of decoding encodes all previous tokens again."""

    def __init__(self, config: EncoderLmConfig, tgt: TokenSide) -> None:
        UncachedLm.__init__(self, tgt)
        self._add_layers(config, tgt)

    def forward(self, batch: TextBatch) -> DecoderOutput:
        """Run one teacher-forced pass."""
        hidden, _ = self.encoder(self.embed(batch.tgt_in), None)
        return DecoderOutput(hidden, self.projection)


class StatefulEncoder(Protocol):
    """An encoder whose state can be carried from one position to the next, as `EncoderConfig.carries_state` states."""

    def run(self, x: Tensor, state: RecurrentState | None) -> RecurrentOutput:
        """Encode x (B, T, E) from a state; None for the start of a text."""
        ...

    def step(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Encode one position of each row: x (N, E) -> hidden (N, D), next state."""
        ...

    def initial_state(self, batch_size: int) -> RecurrentState:
        """Return the state at the start of a text."""
        ...


class CarryingLm(EncoderLm):
    """Language model that carries the state of its encoder; a `Stepper`, `Scorer` and `CarryingScorer`."""

    @property
    def _stateful(self) -> StatefulEncoder:
        return cast(StatefulEncoder, self.encoder)

    def forward(self, batch: TextBatch, carry: dict[str, Tensor] | None = None) -> DecoderOutput:
        """Run one teacher-forced pass; `carry`: the state after the previous batch, if its rows continue."""
        state = None if carry is None else RecurrentState.from_tensors(carry)
        result = self._stateful.run(self.embed(batch.tgt_in), state)
        return DecoderOutput(result.output, self.projection, result.state.detach().tensors(), result.undropped)

    def score_with_carry(self, batch: TextBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Score rows that continue those of the previous batch; also return the state after them."""
        output = self(batch, carry)
        assert output.carry is not None
        return output.scores(batch.tgt_out), output.carry

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, Any]:
        """Read prompts of equal lengths, except their last ids, which the first step reads. There is no attention."""
        ids = batch.tgt_in
        if ids.size(1) == 1:
            return ids[:, -1], self._stateful.initial_state(ids.size(0))
        return ids[:, -1], self._stateful.run(self.embed(ids[:, :-1]), None).state

    def step(self, last_ids: Tensor, state: Any) -> Step:
        """Read one id per row (N,) and score the next id."""
        hidden, state = self._stateful.step(self.embed(last_ids), state)
        return Step(self.projection.log_probs(hidden), state, None)
