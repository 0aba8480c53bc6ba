"""What all models that label have in common: which words they read, and what they predict labels from.

Shapes: B lines, S words of a line, W words in all, D size of what the encoder gives, L labels.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import CountOrZero
from seqlab.data.batch import SPELLING_VOCAB_SIZE, LabelledBatch
from seqlab.models.config import SETTINGS, ModelConfig, Probability, SequencePooling, TokenSide
from seqlab.models.interfaces import DecoderOutput
from seqlab.nn.embedding import CharacterCnn
from seqlab.nn.layers import Dropout, LockedDropout
from seqlab.nn.masks import padding_mask
from seqlab.nn.ngram_embedding import NgramEmbedding
from seqlab.nn.projection import VocabularyProjection


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LabellerConfig(ModelConfig):
    """The fields that all families of labellers have."""

    spelling_size: CountOrZero = 0
    """Filters over the bytes that a word is spelt with, which say what an unknown word is; 0 reads words alone. For a
    tokenizer of kind `words`."""
    unknown_share: Probability = 0.0
    """Probability of reading a word as unknown in training, so that the model learns what to do without it."""
    ngram_order: Annotated[int, Field(ge=1, le=5)] = 1
    """Tokens of the longest n-grams that have vectors of their own, which are added to that of the token that they end
    at: 1 has none, 3 those of pairs and triples. Another run's model (`init_from`) keeps its n-grams."""
    num_ngrams: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    """Where `ngram_order` is above 1: of each length the n-grams that have vectors at most, the most frequent that
    training has more than once, counted alike whatever `data.train_weights` says."""
    ngram_dropout: Probability = 0.5
    """Where `ngram_order` is above 1: probability of dropping all occurrences of an n-gram in a micro-step; those of a
    Transformer are not dropped besides."""
    pooling: SequencePooling | None = None
    """What labels of lines are predicted from: the `mean` of what the encoder gives for the words, or the largest value
    of each feature (`max`), which null takes."""
    output_dropout: Probability = 0.3
    """Probability of dropping a feature of what labels are predicted from."""

    task: ClassVar[str] = "labelling"
    # Labels are numbered by how frequent they are; rows of n-grams mean those of another corpus.
    warm_start_excludes: ClassVar[tuple[str, ...]] = ("head.", "reader.ngrams.")

    def resolve(self, data: Any) -> Self:
        """Return it with the pooling that labels of lines need; raise ValueError where those of words have one."""
        if data.labels_of == "lines":
            return replace(self, pooling=self.pooling or "max")
        if self.pooling is not None:
            raise ValueError(
                f"`model.pooling: {self.pooling}` makes one vector of a line, but `data.labels_of: words` needs one "
                "for each word: set it to null."
            )
        return self

    def check_sides(self, src: TokenSide, tgt: TokenSide) -> None:
        """Raise ValueError where the model reads how words are spelt, but the tokenizer knows no words."""
        if self.spelling_size and not src.has_words:
            raise ValueError(
                "`model.spelling_size` needs a tokenizer of kind `words`, but the one that was taken over is none."
            )

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        if self.spelling_size and not data.tokenizer.may_be_words:
            raise ValueError(
                f"`model.spelling_size` reads how words are spelt, but `data.tokenizer.kind: {data.tokenizer.kind}` "
                "knows no words: set one of them differently."
            )


class WordReader(nn.Module):
    """What is read of the words of a batch besides what the encoder looks up."""

    def __init__(
        self, config: LabellerConfig, vocab_size: int, unk_id: int, *, size: int, std: float, dropout: float
    ) -> None:
        """`size`: of the words' vectors, `std`: of their random start, `dropout`: of the bytes of their spelling."""
        super().__init__()
        self.unk_id, self.unknown = unk_id, Dropout(config.unknown_share)
        self.spelling = (
            CharacterCnn(SPELLING_VOCAB_SIZE, config.spelling_size, dropout=dropout) if config.spelling_size else None
        )
        self.ngrams = nn.ModuleList(
            NgramEmbedding(config.num_ngrams, length, vocab_size, size, std=std, dropout=config.ngram_dropout)
            for length in range(2, config.ngram_order + 1)
        )

    def words(self, src: Tensor) -> Tensor:
        """src (B, S) -> the same with some of them unknown in training."""
        if not self.training or self.unknown.p == 0:
            return src
        is_unknown = self.unknown(torch.ones(src.shape, device=src.device)) == 0
        return src.masked_fill(is_unknown, self.unk_id)

    def ngram_vectors(self, words: Tensor) -> Tensor | None:
        """Add up the vectors of the n-grams that end at each of words (B, S): (B, S, E); None for a model without."""
        return sum(ngrams(words) for ngrams in self.ngrams) if len(self.ngrams) else None

    def spelt(self, batch: LabelledBatch) -> Tensor | None:
        """Give vectors (B, S, F) of how the words are spelt, 0 at padding; None for a model that does not read it."""
        if self.spelling is None:
            return None
        assert batch.spelling is not None, "a tokenizer of words comes with their spelling"
        found = self.spelling(batch.spelling)  # (W, F)
        is_word = ~padding_mask(batch.src_lengths, batch.src.size(1))
        return found.new_zeros(*batch.src.shape, found.size(1)).masked_scatter(is_word[..., None], found)


class LabelHead(nn.Module):
    """Labels of words or of lines."""

    def __init__(self, config: LabellerConfig, size: int, num_labels: int) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.dropout = LockedDropout(config.output_dropout)
        self.projection = VocabularyProjection(nn.Parameter(torch.empty(num_labels, size).normal_(std=size**-0.5)))

    def forward(self, memory: Tensor, lengths: Tensor) -> DecoderOutput:
        """memory (B, S, D), lengths (B,) -> what the labels are predicted from, (B, S, D) or (B, 1, D)."""
        if self.pooling is not None:
            memory = pooled(memory.float(), lengths, self.pooling)[:, None]
        return DecoderOutput(self.dropout(memory), self.projection)


def pooled(memory: Tensor, lengths: Tensor, pooling: SequencePooling) -> Tensor:
    """Make one vector of each row: (B, S, D) -> (B, D). Padding changes nothing, bit for bit."""
    is_padding = padding_mask(lengths, memory.size(1))
    if pooling == "max":
        return memory.masked_fill(is_padding[..., None], float("-inf")).amax(1)
    rows = torch.arange(len(memory), device=memory.device)[:, None].expand_as(is_padding)[~is_padding]
    sums = memory.new_zeros(len(memory), memory.size(2)).index_add(0, rows, memory[~is_padding])
    return sums / lengths[:, None]


class LabellingModel(nn.Module):
    """What every family adds its encoder to: a `Labeller` and a `Scorer`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight"}
    """The parameter that the ids of each side are looked up in."""
    reader: WordReader
    head: LabelHead

    @property
    def labels_lines(self) -> bool:
        """Whether lines have labels, and not words."""
        return self.head.pooling is not None

    def read_corpus(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> Iterator[str]:
        """Choose the n-grams that have vectors: those that the training corpus has more than once."""
        for ngrams in self.reader.ngrams:
            assert isinstance(ngrams, NgramEmbedding)
            num_known = ngrams.learn(values, offsets)
            yield f"n-grams of {ngrams.length} tokens: {num_known:,} of at most {len(ngrams.known):,}"

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Read a batch: (B, S, D)."""
        raise NotImplementedError

    def forward(self, batch: LabelledBatch) -> DecoderOutput:
        """Give what the labels are predicted from, and what maps it to them."""
        output: DecoderOutput = self.head(self.encode(batch), batch.src_lengths)
        return output

    @torch.no_grad()
    def label(self, batch: LabelledBatch) -> Tensor:
        """Give log-probabilities in nats of all labels, of words (W, L) row after row, or of lines (B, L)."""
        output = self(batch)
        is_word = ~padding_mask(batch.src_lengths, batch.src.size(1))
        hidden = output.hidden[:, 0] if self.labels_lines else output.hidden[is_word]
        return self.head.projection.log_probs(hidden)
