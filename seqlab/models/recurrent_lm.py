"""Recurrent language models: a tanh RNN, LSTM or GRU over text, regularised as in AWD-LSTM (Merity et al. 2018).

Shapes: B rows of text, T positions, D embedding size, H hidden size, N rows while decoding.
"""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import TextBatch
from seqlab.models.config import SETTINGS, LanguageModelConfig, Probability, Size, TokenSide
from seqlab.models.interfaces import DecoderOutput, Step
from seqlab.nn.layers import EmbeddingDropout
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import Recurrent, RecurrentKind
from seqlab.nn.recurrent_state import RecurrentState


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentLmConfig(LanguageModelConfig):
    """The fields that all families of recurrent language models have."""

    hidden_size: Size = 512
    """Size of the hidden states."""
    embedding_size: Size | None = None
    """Size of the embeddings; with `tied_embeddings` also that of the last layer. null takes `hidden_size`."""
    num_layers: Size = 2
    """Layers."""
    residual: bool = False
    """Whether each layer after the first adds its input to its output, where both are equally wide."""
    tied_embeddings: bool = True
    """Whether the output shares the weight of the input."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a symbol in a micro-step."""
    input_dropout: Probability = 0.1
    """Probability of dropping a feature of the embeddings throughout a row."""
    hidden_dropout: Probability = 0.1
    """The same between two layers."""
    output_dropout: Probability = 0.1
    """The same of what the last layer gives."""
    weight_dropout: Probability = 0.0
    """Probability of dropping an element of the recurrent matrices, anew in each micro-step."""

    is_recurrent: ClassVar[bool] = True
    embedding_field: ClassVar[str] = "embedding_size"
    kind: ClassVar[RecurrentKind]

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has."""
        return self.embedding_size or self.hidden_size

    def decoder_name(self, name: str) -> str | None:
        """Name a weight as that of a translator's decoder."""
        if name == "weight":
            return "decoder.embedding.weight"
        return f"decoder.{name}" if name.startswith("layers.") else None

    def build(self, src: TokenSide, tgt: TokenSide) -> "RecurrentLm":
        """Build the model."""
        return RecurrentLm(self, tgt.vocab_size, tgt.eos_id)

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        super().check_data(data)
        if data.packing:
            raise ValueError(
                "`data.packing` needs a model that tells the lines of a row apart by a mask, and a recurrent one does "
                "not: leave it out."
            )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RnnLmConfig(RecurrentLmConfig):
    """A tanh RNN (Elman 1990; Mikolov et al. 2010)."""

    family: Literal["rnn_lm"] = "rnn_lm"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "rnn"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmLmConfig(RecurrentLmConfig):
    """A long short-term memory (Hochreiter & Schmidhuber 1997)."""

    family: Literal["lstm_lm"] = "lstm_lm"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruLmConfig(RecurrentLmConfig):
    """Gated recurrent units (Cho et al. 2014)."""

    family: Literal["gru_lm"] = "gru_lm"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "gru"


class RecurrentLm(nn.Module):
    """A `Stepper`, a `Scorer` and a `CarryingScorer` over text."""

    embeddings: ClassVar[dict[str, str]] = {"tgt": "weight"}
    """The parameter that the ids of each side are looked up in."""

    def __init__(self, config: RecurrentLmConfig, vocab_size: int, eos_id: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.eos_id = config, vocab_size, eos_id
        size = config.embedding_dim
        weight = nn.Parameter(torch.empty(vocab_size, size).uniform_(-0.1, 0.1))
        self.weight = weight
        self.embedding_dropout = EmbeddingDropout(config.embedding_dropout, vocab_size)
        self.layers = Recurrent(
            config.kind,
            size,
            config.hidden_size,
            config.num_layers,
            last_size=size if config.tied_embeddings else None,
            residual=config.residual,
            input_dropout=config.input_dropout,
            hidden_dropout=config.hidden_dropout,
            output_dropout=config.output_dropout,
            weight_dropout=config.weight_dropout,
        )
        if not config.tied_embeddings:
            weight = nn.Parameter(torch.empty(vocab_size, config.hidden_size).uniform_(-0.1, 0.1))
        self.projection = VocabularyProjection(weight)

    def forward(self, batch: TextBatch, carry: dict[str, Tensor] | None = None) -> DecoderOutput:
        """Run one teacher-forced pass, from where the rows before ended if they left a `carry`."""
        state = None if carry is None else RecurrentState.from_tensors(carry)
        read = self.layers(self._embed(batch.tgt_in), state)
        after = read.state.detach().tensors()
        return DecoderOutput(read.output, self.projection, after, read.undropped)

    def score(self, batch: TextBatch) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out`, 0 where nothing is predicted."""
        return self.score_with_carry(batch, None)[0]

    def score_with_carry(self, batch: TextBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Score rows that go on where those before them ended; give what the next ones go on from."""
        output = self(batch, carry)
        assert output.carry is not None
        return output.scores(batch.tgt_out), output.carry

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, RecurrentState]:
        """Read prompts of one length: the first step reads their last ids. There is nothing to attend to."""
        ids = batch.tgt_in
        if ids.size(1) == 1:
            return ids[:, -1], self.layers.initial_state(ids.size(0))
        return ids[:, -1], self.layers(self._embed(ids[:, :-1])).state

    def step(self, last_ids: Tensor, state: RecurrentState) -> Step:
        """Read one id per row (N,) and score the next."""
        hidden, state = self.layers.step(self._embed(last_ids), state)
        return Step(self.projection.log_probs(hidden), state, None)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.embedding_dropout(F.embedding(ids, self.weight).float(), ids)
