"""A convolutional labeller (Kim 2014, D14-1181): filters over neighbouring words, and for lines their largest values.

Shapes: B lines, S words, E size of a word's vector, F filters of each width, D filters of all widths.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, Probability, Size, TokenSide
from seqlab.models.labelling import LabelHead, LabellerConfig, LabellingModel, WordReader
from seqlab.nn.layers import Dropout, EmbeddingDropout, Linear, initialize_for
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CnnLabellerConfig(LabellerConfig):
    """Convolutions of several widths over the words of a line."""

    family: Literal["cnn_labeller"] = "cnn_labeller"
    """Which architecture this is."""
    embedding_size: Size = 128
    """Values of each word's vector."""
    widths: Annotated[tuple[Size, ...], Field(min_length=1)] = (3, 4, 5)
    """Words that the filters of each convolution read at once."""
    num_filters: Size = 100
    """Filters of each width."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping a word, at all of its positions in a micro-step."""
    dropout: Probability = 0.3
    """Probability of dropping an element of a word's vector."""

    embedding_field: ClassVar[str] = "embedding_size"

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has."""
        return self.embedding_size

    def build(self, src: TokenSide, tgt: TokenSide) -> "CnnLabeller":
        """Build the model."""
        return CnnLabeller(self, src.vocab_size, src.unk_id, tgt.num_labels)

    @model_validator(mode="after")
    def _check(self) -> "CnnLabellerConfig":
        if len(set(self.widths)) < len(self.widths):
            raise ValueError(f"`widths` must be different ones, but are {list(self.widths)}.")
        return self


class ConvolutionEncoder(nn.Module):
    """Vectors of words to what the filters find around each of them.

    Windows of words are rows of a linear layer, so that no line depends on the others, bit for bit.
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

    def forward(self, words: Tensor, lengths: Tensor, ngrams: Tensor | None, spelt: Tensor | None) -> Tensor:
        """words (B, S), lengths (B,), vectors of n-grams (B, S, E) and of spelling -> (B, S, D)."""
        x = self.word_dropout(self.embedding(words).float(), words)
        x = x if ngrams is None else x + ngrams
        x = self.dropout(x if spelt is None else torch.cat((x, spelt.float()), dim=2))
        x = x.masked_fill(padding_mask(lengths, x.size(1))[..., None], 0.0)  # as beyond the ends of a longer batch
        found = []
        for width, filters in zip(self.widths, self.filters, strict=True):
            padded = F.pad(x, (0, 0, (width - 1) // 2, width // 2))
            windows = torch.cat([padded[:, start : start + x.size(1)] for start in range(width)], dim=2)
            found.append(torch.relu(filters(windows).float()))
        return torch.cat(found, dim=2)


class CnnLabeller(LabellingModel):
    """A `Labeller` and a `Scorer`."""

    def __init__(self, config: CnnLabellerConfig, vocab_size: int, unk_id: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConvolutionEncoder(config, vocab_size)
        self.reader = WordReader(
            config, vocab_size, unk_id, size=config.embedding_size, std=0.1, dropout=config.dropout
        )
        self.head = LabelHead(config, len(config.widths) * config.num_filters, num_labels)

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Read a batch: (B, S, D)."""
        words = self.reader.words(batch.src)
        return self.encoder(words, batch.src_lengths, self.reader.ngram_vectors(words), self.reader.spelt(batch))
