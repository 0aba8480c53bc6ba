"""Recurrent labellers of words or lines: bidirectional tanh RNNs, LSTMs or GRUs with an output layer.

Shapes: B lines, S words, E embedding size, F spelling features, H hidden size.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, Probability, Size, TokenSide
from seqlab.models.labelling import LabelHead, LabellerConfig, LabellingModel, WordReader
from seqlab.nn.layers import EmbeddingDropout
from seqlab.nn.recurrent import Recurrent, RecurrentKind

EMBEDDING_INIT_RANGE = 0.1
"""Embeddings are initialized uniformly between this and its negative."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentLabellerConfig(LabellerConfig):
    """Common fields of recurrent labellers."""

    hidden_size: Annotated[int, Field(ge=2, le=MAX_COUNT, multiple_of=2)] = 256
    """Output size of each layer, half for each direction."""
    embedding_size: Size = 128
    """Size of the word embeddings."""
    num_layers: Size = 1
    """Number of layers."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a word in a micro-step."""
    dropout: Probability = 0.3
    """Dropout probability of the inputs and between layers, with one mask per line."""
    weight_dropout: Probability = 0.0
    """Dropout probability of the recurrent weights (DropConnect), drawn once per micro-step."""

    embedding_field: ClassVar[str] = "embedding_size"
    kind: ClassVar[RecurrentKind]

    @property
    def embedding_dim(self) -> int:
        """Size of the embeddings."""
        return self.embedding_size

    def build(self, src: TokenSide, tgt: TokenSide) -> "RecurrentLabeller":
        """Build the model."""
        return RecurrentLabeller(self, src.vocab_size, src.unk_id, tgt.num_labels)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RnnLabellerConfig(RecurrentLabellerConfig):
    """A labeller of tanh RNNs (Elman 1990)."""

    family: Literal["rnn_labeller"] = "rnn_labeller"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "rnn"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmLabellerConfig(RecurrentLabellerConfig):
    """A labeller of LSTMs (Hochreiter & Schmidhuber 1997; Graves & Schmidhuber 2005)."""

    family: Literal["lstm_labeller"] = "lstm_labeller"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruLabellerConfig(RecurrentLabellerConfig):
    """A labeller of gated recurrent units (Cho et al. 2014)."""

    family: Literal["gru_labeller"] = "gru_labeller"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "gru"


class RecurrentLabellerEncoder(nn.Module):
    """Bidirectional recurrent encoder of words, optionally with n-gram and spelling features."""

    def __init__(self, config: RecurrentLabellerConfig, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        nn.init.uniform_(self.embedding.weight, -EMBEDDING_INIT_RANGE, EMBEDDING_INIT_RANGE)
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

    def forward(self, src: Tensor, src_lengths: Tensor, ngrams: Tensor | None, spelling: Tensor | None) -> Tensor:
        """src (B, S), src_lengths (B,), vectors of n-grams (B, S, E) and of spelling (B, S, F) -> (B, S, H)."""
        x = self.embedding_dropout(F.embedding(src, self.embedding.weight).float(), src)
        x = x if ngrams is None else x + ngrams
        x = x if spelling is None else torch.cat((x, spelling), dim=-1)
        return self.layers(x, lengths=src_lengths).output


class RecurrentLabeller(LabellingModel):
    """Recurrent labeller; implements `Labeller`."""

    def __init__(self, config: RecurrentLabellerConfig, vocab_size: int, unk_id: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = RecurrentLabellerEncoder(config, vocab_size)
        std = EMBEDDING_INIT_RANGE / 3**0.5  # standard deviation of the uniform embeddings
        self.reader = WordReader(
            config, vocab_size, unk_id, size=config.embedding_size, std=std, dropout=config.dropout
        )
        self.head = LabelHead(config, config.hidden_size, num_labels)

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Encode a batch: (B, S, H)."""
        words = self.reader.drop_words(batch.src)
        ngrams, spelling = self.reader.ngram_vectors(words), self.reader.spelling_vectors(batch)
        return self.encoder(words, batch.src_lengths, ngrams, spelling)
