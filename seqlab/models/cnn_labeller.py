"""Convolutional labeller of words or lines (Kim 2014, D14-1181).

Shapes: B lines, S words, E embedding size, F spelling features, D filters of all widths.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, Probability, Size, TokenSide
from seqlab.models.labelling import LabelHead, LabellerConfig, LabellingModel, WordReader
from seqlab.nn.layers import Dropout, EmbeddingDropout, Linear, initialize_for
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CnnLabellerConfig(LabellerConfig):
    """Convolutions of several widths over the words of a line."""

    family: Literal["cnn_labeller"] = "cnn_labeller"
    """Name of the model family."""
    embedding_size: Size = 128
    """Size of the word embeddings."""
    widths: Annotated[tuple[Size, ...], Field(min_length=1)] = (3, 4, 5)
    """Filter width in words of each convolution."""
    num_filters: Size = 100
    """Number of filters per width."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a word in a micro-step."""
    dropout: Probability = 0.3
    """Dropout probability of the convolutions' input."""

    embedding_field: ClassVar[str] = "embedding_size"

    @property
    def embedding_dim(self) -> int:
        """Size of the embeddings."""
        return self.embedding_size

    def build(self, src: TokenSide, tgt: TokenSide) -> "CnnLabeller":
        """Build the model."""
        return CnnLabeller(self, src.vocab_size, src.unk_id, tgt.num_labels)

    @model_validator(mode="after")
    def _check(self) -> "CnnLabellerConfig":
        if len(set(self.widths)) < len(self.widths):
            raise ValueError(f"`widths` must be distinct, but are {list(self.widths)}.")
        return self


class ConvolutionEncoder(nn.Module):
    """Convolutions over windows of words.

    Each convolution is a linear layer over a matrix with one window per row, so that results are bitwise independent of
    the batch.
    """

    def __init__(self, config: CnnLabellerConfig, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.word_dropout = EmbeddingDropout(config.embedding_dropout, vocab_size)
        self.dropout = Dropout(config.dropout)
        self.widths = config.widths
        size = config.embedding_size + config.spelling_size
        self.filters = nn.ModuleList(Linear(width * size, config.num_filters) for width in config.widths)
        for each in self.filters:
            assert isinstance(each, Linear)
            initialize_for(each, "relu")

    def forward(self, words: Tensor, lengths: Tensor, ngrams: Tensor | None, spelling: Tensor | None) -> Tensor:
        """words (B, S), lengths (B,), vectors of n-grams (B, S, E) and of spelling (B, S, F) -> (B, S, D)."""
        x = self.word_dropout(self.embedding(words).float(), words)
        x = x if ngrams is None else x + ngrams
        x = self.dropout(x if spelling is None else torch.cat((x, spelling.float()), dim=2))
        x = x.masked_fill(padding_mask(lengths, x.size(1))[..., None], 0.0)  # zeros, like the padding that F.pad adds
        features = []
        for width, filters in zip(self.widths, self.filters, strict=True):
            padded = F.pad(x, (0, 0, (width - 1) // 2, width // 2))
            windows = torch.cat([padded[:, start : start + x.size(1)] for start in range(width)], dim=2)
            features.append(torch.relu(filters(windows).float()))
        return torch.cat(features, dim=2)


class CnnLabeller(LabellingModel):
    """Convolutional labeller; implements `Labeller`."""

    def __init__(self, config: CnnLabellerConfig, vocab_size: int, unk_id: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConvolutionEncoder(config, vocab_size)
        self.reader = WordReader(
            config, vocab_size, unk_id, size=config.embedding_size, std=0.1, dropout=config.dropout
        )
        self.head = LabelHead(config, len(config.widths) * config.num_filters, num_labels)

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Encode a batch: (B, S, D)."""
        words = self.reader.drop_words(batch.src)
        ngrams, spelling = self.reader.ngram_vectors(words), self.reader.spelling_vectors(batch)
        return self.encoder(words, batch.src_lengths, ngrams, spelling)
