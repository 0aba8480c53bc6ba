"""Language models of a causal encoder, regularized as in AWD-LSTM (Merity et al. 2018).

Shapes: B rows of text, T positions, E embedding size, N rows while decoding.
"""

from typing import Any, ClassVar, Literal, Protocol, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import TextBatch, TextLayout
from seqlab.models.config import SETTINGS, LanguageModelConfig, Probability, Size, TokenSide
from seqlab.models.encoder import EncoderConfig, EncoderModelConfig
from seqlab.models.interfaces import Step
from seqlab.models.outputs import DecoderOutput
from seqlab.models.recurrent_encoder import LstmEncoderConfig
from seqlab.models.uncached import UncachedLm
from seqlab.nn.layers import EmbeddingDropout
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import RecurrentOutput
from seqlab.nn.recurrent_state import RecurrentState

DEFAULT_SIZE = 512
"""Default size of embeddings for encoders whose output size is not set."""
EMBEDDING_RANGE = 0.1
"""Embeddings are initialized uniformly between this and its negative."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EncoderLmConfig(LanguageModelConfig, EncoderModelConfig):
    """A language model of an encoder that reads forward only."""

    family: Literal["language_model"] = "language_model"
    """Name of the model family."""
    encoder: EncoderConfig = Field(
        default_factory=lambda: LstmEncoderConfig(
            hidden_size=512, num_layers=2, bidirectional=False, dropout=0.1, output_dropout=0.1
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
    def is_recurrent(self) -> bool:
        """Whether the encoder is recurrent."""
        return bool(self.encoder.kind)

    @property
    def text_layouts(self) -> frozenset[TextLayout]:
        """Layouts of a text that the model supports: contiguous ones if the encoder carries its state."""
        return frozenset({"contiguous"}) if self.encoder.carries_state else frozenset()

    @property
    def embedding_field(self) -> str:
        """Key of the field that sets the size of the embeddings."""
        return "embedding_size"

    @property
    def embedding_dim(self) -> int:
        """Size of the embeddings."""
        return self.embedding_size or self.encoder.configured_output_size or DEFAULT_SIZE

    def translator_weight_name(self, name: str) -> str | None:
        """Map the name of a weight to its name in the decoder of a translator; None for other weights."""
        if name == "weight":
            return "decoder.embedding.weight"
        return f"decoder.{name.removeprefix('encoder.')}" if name.startswith("encoder.layers.") else None

    def build(self, src: TokenSide, tgt: TokenSide) -> "EncoderLm":
        """Build the model."""
        return CarryingLm(self, tgt) if self.encoder.carries_state else EncoderLm(self, tgt)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        super().check_data(data)
        if not self.encoder.is_causal:
            raise ValueError(
                f"`model.encoder.family: {self.encoder.family}` reads later tokens, too, which a language model must "
                "predict: choose an encoder that reads forward only, such as `lstm` with `model.encoder.bidirectional: "
                "false`, or set `model.family: transformer_lm`."
            )
        if data.packing:
            raise ValueError(
                "`data.packing` needs a model with attention masks, which separate the lines of a row, but "
                f"`model.family: {self.family}` has none: remove it, or set `model.family: transformer_lm`."
            )


class EncoderLm(UncachedLm):
    """Language model of an encoder; each step of decoding encodes all previous tokens again."""

    embeddings: ClassVar[dict[str, str]] = {"tgt": "weight"}
    """Names of the embedding parameters of the source and target side."""

    def __init__(self, config: EncoderLmConfig, tgt: TokenSide) -> None:
        super().__init__(tgt)
        self.config = config
        size, encoder = config.embedding_dim, config.encoder
        weight = nn.Parameter(torch.empty(tgt.vocab_size, size).uniform_(-EMBEDDING_RANGE, EMBEDDING_RANGE))
        self.weight = weight
        self.embedding_dropout = EmbeddingDropout(config.embedding_dropout, tgt.vocab_size)
        self.encoder = (encoder.with_output_size(size) if config.tied_embeddings else encoder).build(size)
        encoder.init_weights(self.encoder)
        if not config.tied_embeddings:
            shape = tgt.vocab_size, self.encoder.output_size
            weight = nn.Parameter(torch.empty(shape).uniform_(-EMBEDDING_RANGE, EMBEDDING_RANGE))
        elif self.encoder.output_size != size:
            raise ValueError(
                f"`model.tied_embeddings` needs outputs of the size of the embeddings ({size}), but those of the "
                f"encoder have {self.encoder.output_size}: set `model.embedding_size: {self.encoder.output_size}`, or "
                "`model.tied_embeddings: false`."
            )
        self.projection = VocabularyProjection(weight)

    def forward(self, batch: TextBatch) -> DecoderOutput:
        """Run one teacher-forced pass."""
        hidden, _ = self.encoder(self.embed(batch.tgt_in), None)
        return DecoderOutput(hidden, self.projection)

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> vectors (B, T, E)."""
        x = self.embedding_dropout(F.embedding(ids, self.weight).float(), ids)
        entered: Tensor = self.encoder.enter(x)
        return entered


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
