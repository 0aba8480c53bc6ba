"""Recurrent language models: tanh RNN, LSTM or GRU, regularized as in AWD-LSTM (Merity et al. 2018).

Shapes: B rows of text, T positions, D embedding size, H hidden size, N rows while decoding.
"""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import TextBatch, TextLayout
from seqlab.models.config import SETTINGS, LanguageModelConfig, Probability, Size, TokenSide
from seqlab.models.interfaces import DecoderOutput, Step
from seqlab.nn.layers import EmbeddingDropout
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import Recurrent, RecurrentKind
from seqlab.nn.recurrent_state import RecurrentState


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentLmConfig(LanguageModelConfig):
    """Common fields of recurrent language models."""

    hidden_size: Size = 512
    """Size of the hidden states."""
    embedding_size: Size | None = None
    """Size of the embeddings, and with `tied_embeddings` also of the last layer; null takes `hidden_size`."""
    num_layers: Size = 2
    """Number of layers."""
    residual: bool = False
    """Whether each layer after the first has a residual connection, where input and output have the same size."""
    tied_embeddings: bool = True
    """Whether the output projection shares the weight of the embeddings."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a token in a micro-step."""
    input_dropout: Probability = 0.1
    """Dropout probability of the embeddings, with one mask per row."""
    hidden_dropout: Probability = 0.1
    """Dropout probability between layers, with one mask per row."""
    output_dropout: Probability = 0.1
    """Dropout probability of the last layer's output, with one mask per row."""
    weight_dropout: Probability = 0.0
    """Dropout probability of the recurrent weights (DropConnect), drawn once per micro-step."""

    is_recurrent: ClassVar[bool] = True
    text_layouts: ClassVar[frozenset[TextLayout]] = frozenset({"contiguous"})
    embedding_field: ClassVar[str] = "embedding_size"
    kind: ClassVar[RecurrentKind]

    @property
    def embedding_dim(self) -> int:
        """Size of the embeddings."""
        return self.embedding_size or self.hidden_size

    def decoder_weight_name(self, name: str) -> str | None:
        """Map the name of a weight to its name in the decoder of a translator; None for other weights."""
        if name == "weight":
            return "decoder.embedding.weight"
        return f"decoder.{name}" if name.startswith("layers.") else None

    def build(self, src: TokenSide, tgt: TokenSide) -> "RecurrentLm":
        """Build the model."""
        return RecurrentLm(self, tgt.vocab_size, tgt.eos_id)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        super().check_data(data)
        if data.packing:
            raise ValueError(
                "`data.packing` needs a model with attention masks, which separate the lines of a row, but a "
                "recurrent model has none: remove it."
            )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RnnLmConfig(RecurrentLmConfig):
    """A language model of tanh RNNs (Elman 1990; Mikolov et al. 2010)."""

    family: Literal["rnn_lm"] = "rnn_lm"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "rnn"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmLmConfig(RecurrentLmConfig):
    """A language model of LSTMs (Hochreiter & Schmidhuber 1997)."""

    family: Literal["lstm_lm"] = "lstm_lm"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruLmConfig(RecurrentLmConfig):
    """A language model of gated recurrent units (Cho et al. 2014)."""

    family: Literal["gru_lm"] = "gru_lm"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "gru"


class RecurrentLm(nn.Module):
    """Recurrent language model; a `Stepper`, `Scorer` and `CarryingScorer`."""

    embeddings: ClassVar[dict[str, str]] = {"tgt": "weight"}
    """Names of the embedding parameters of the source and target side."""

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
        """Run one teacher-forced pass; `carry`: the state after the previous batch, if its rows continue."""
        state = None if carry is None else RecurrentState.from_tensors(carry)
        result = self.layers(self._embed(batch.tgt_in), state)
        after = result.state.detach().tensors()
        return DecoderOutput(result.output, self.projection, after, result.undropped)

    def score(self, batch: TextBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at ignored positions."""
        return self.score_with_carry(batch, None)[0]

    def score_with_carry(self, batch: TextBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Score rows that continue those of the previous batch; also return the state after them."""
        output = self(batch, carry)
        assert output.carry is not None
        return output.scores(batch.tgt_out), output.carry

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, RecurrentState]:
        """Read prompts of equal lengths, except their last ids, which the first step reads. There is no attention."""
        ids = batch.tgt_in
        if ids.size(1) == 1:
            return ids[:, -1], self.layers.initial_state(ids.size(0))
        return ids[:, -1], self.layers(self._embed(ids[:, :-1])).state

    def step(self, last_ids: Tensor, state: RecurrentState) -> Step:
        """Read one id per row (N,) and score the next id."""
        hidden, state = self.layers.step(self._embed(last_ids), state)
        return Step(self.projection.log_probs(hidden), state, None)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.embedding_dropout(F.embedding(ids, self.weight).float(), ids)
