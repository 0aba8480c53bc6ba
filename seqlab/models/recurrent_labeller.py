"""Recurrent networks that label words or lines: bidirectional tanh RNNs, LSTMs or GRUs with a head.

Shapes: B lines, S words, E embedding size, F filters, H hidden size.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, Probability, Size, TokenSide
from seqlab.models.labelling import LabelHead, LabellerConfig, LabellingModel, WordReader
from seqlab.nn.layers import EmbeddingDropout
from seqlab.nn.recurrent import Recurrent, RecurrentKind

START = 0.1
"""Vectors start between this and its negative."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentLabellerConfig(LabellerConfig):
    """The fields that all families of recurrent labellers have."""

    hidden_size: Annotated[int, Field(ge=2, le=MAX_COUNT, multiple_of=2)] = 256
    """Size of what a layer gives, of which each direction has one half."""
    embedding_size: Size = 128
    """Size of the embeddings of words."""
    num_layers: Size = 1
    """Layers."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a word in a micro-step."""
    dropout: Probability = 0.3
    """Probability of dropping a feature of what is read, and between layers, throughout a line."""
    weight_dropout: Probability = 0.0
    """Probability of dropping an element of the recurrent matrices, anew in each micro-step."""

    embedding_field: ClassVar[str] = "embedding_size"
    kind: ClassVar[RecurrentKind]

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has."""
        return self.embedding_size

    def build(self, src: TokenSide, tgt: TokenSide) -> "RecurrentLabeller":
        """Build the model."""
        return RecurrentLabeller(self, src.vocab_size, src.unk_id, tgt.num_labels)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RnnLabellerConfig(RecurrentLabellerConfig):
    """A labeller of tanh RNNs (Elman 1990)."""

    family: Literal["rnn_labeller"] = "rnn_labeller"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "rnn"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmLabellerConfig(RecurrentLabellerConfig):
    """A labeller of LSTMs (Hochreiter & Schmidhuber 1997; Graves & Schmidhuber 2005)."""

    family: Literal["lstm_labeller"] = "lstm_labeller"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruLabellerConfig(RecurrentLabellerConfig):
    """A labeller of gated recurrent units (Cho et al. 2014)."""

    family: Literal["gru_labeller"] = "gru_labeller"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "gru"


class RecurrentLabellerEncoder(nn.Module):
    """Words, perhaps with what their spelling says, to what both directions know at each of them."""

    def __init__(self, config: RecurrentLabellerConfig, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        nn.init.uniform_(self.embedding.weight, -START, START)
        self.embedding_dropout = EmbeddingDropout(config.embedding_dropout, vocab_size)
        self.layers = Recurrent(
            config.kind,
            config.embedding_size + config.spelling_size,
            config.hidden_size // 2,
            config.num_layers,
            bidirectional=True,
            input_dropout=config.dropout,
            hidden_dropout=config.dropout,
            weight_dropout=config.weight_dropout,
        )

    def forward(self, src: Tensor, src_lengths: Tensor, ngrams: Tensor | None, spelt: Tensor | None) -> Tensor:
        """src (B, S), what n-grams add to its embeddings (B, S, E), spelt (B, S, F) -> (B, S, H)."""
        x = self.embedding_dropout(F.embedding(src, self.embedding.weight).float(), src)
        x = x if ngrams is None else x + ngrams
        x = x if spelt is None else torch.cat((x, spelt), dim=-1)
        return self.layers(x, lengths=src_lengths).output


class RecurrentLabeller(LabellingModel):
    """A `Labeller` and a `Scorer`."""

    def __init__(self, config: RecurrentLabellerConfig, vocab_size: int, unk_id: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = RecurrentLabellerEncoder(config, vocab_size)
        std = START / 3**0.5  # that of the embeddings, which are uniform
        self.reader = WordReader(
            config, vocab_size, unk_id, size=config.embedding_size, std=std, dropout=config.dropout
        )
        self.head = LabelHead(config, config.hidden_size, num_labels)

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Read a batch: (B, S, H)."""
        words = self.reader.words(batch.src)
        return self.encoder(words, batch.src_lengths, self.reader.ngram_vectors(words), self.reader.spelt(batch))
