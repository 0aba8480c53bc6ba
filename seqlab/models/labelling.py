"""Base classes of models that label words or lines: input features of words, output layer and pooling.

Shapes: B lines, S words of a line, W words of a batch, E embedding size, F spelling features, D encoder output size,
L labels.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import CountOrZero
from seqlab.base.config_class import dataclass
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
    """Common fields of labellers."""

    spelling_size: CountOrZero = 0
    """Number of convolution filters over the bytes of each word, which help with unknown words; 0 for none. Needs a
    tokenizer of kind `words`."""
    unknown_share: Probability = 0.0
    """Probability of replacing a word by the unknown word in training, so that the embedding of `<unk>` is trained."""
    ngram_order: Annotated[int, Field(ge=1, le=5)] = 1
    """Maximum order of n-gram embeddings, which are added to the embedding of each n-gram's last token; 1 for none. A
    model that starts from another run (`init_from`) keeps the n-grams of that run."""
    num_ngrams: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    """With `ngram_order` above 1: maximum number of n-gram embeddings per order. The most frequent n-grams have one, if
    they occur more than once in the training data; `data.train_weights` does not affect the counts."""
    ngram_dropout: Probability = 0.5
    """With `ngram_order` above 1: probability of dropping all occurrences of an n-gram in a micro-step. In Transformers
    it is the only dropout of n-gram embeddings."""
    pooling: SequencePooling | None = None
    """Pooling of the encoder's outputs over the words of a line, for labels of lines: `mean` or `max`; null takes
    `max`."""
    output_dropout: Probability = 0.3
    """Dropout probability before the output layer."""

    task: ClassVar[str] = "labelling"
    # Label ids depend on the frequencies of labels, and the rows of n-grams on the corpus.
    warm_start_excludes: ClassVar[tuple[str, ...]] = ("head.", "reader.ngrams.")

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of labels."""
        return int(tgt.num_labels)

    def resolve(self, data: Any) -> Self:
        """Set the default pooling for labels of lines; raises ValueError for pooling with labels of words."""
        if data.labels_of == "lines":
            return replace(self, pooling=self.pooling or "max")
        if self.pooling is not None:
            raise ValueError(
                f"`model.pooling: {self.pooling}` reduces a line to one vector, but `data.labels_of: words` needs one "
                "per word: set `model.pooling` to null."
            )
        return self

    def check_sides(self, src: TokenSide, tgt: TokenSide) -> None:
        """Raise ValueError if the model encodes the spelling of words, but the tokenizer has no words."""
        if self.spelling_size and not src.has_words:
            raise ValueError(
                "`model.spelling_size` needs a tokenizer of kind `words`, but that of the other run is not."
            )

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        if self.spelling_size and not data.tokenizer.may_be_word_level:
            raise ValueError(
                f"`model.spelling_size` encodes spellings of words, but `data.tokenizer.kind: {data.tokenizer.kind}` "
                "has no words: change one of the two."
            )


class WordReader(nn.Module):
    """Input features of words besides their embeddings: word dropout, n-gram embeddings and spelling."""

    def __init__(
        self, config: LabellerConfig, vocab_size: int, unk_id: int, *, size: int, std: float, dropout: float
    ) -> None:
        """`size`, `std`: size and initial standard deviation of embeddings; `dropout`: of the bytes of spellings."""
        super().__init__()
        self.unk_id, self.word_dropout = unk_id, Dropout(config.unknown_share)
        self.spelling = (
            CharacterCnn(SPELLING_VOCAB_SIZE, config.spelling_size, dropout=dropout) if config.spelling_size else None
        )
        self.ngrams = nn.ModuleList(
            NgramEmbedding(config.num_ngrams, length, vocab_size, size, std=std, dropout=config.ngram_dropout)
            for length in range(2, config.ngram_order + 1)
        )

    def drop_words(self, src: Tensor) -> Tensor:
        """Replace random words of src (B, S) by unk in training."""
        if not self.training or self.word_dropout.p == 0:
            return src
        is_dropped = self.word_dropout(torch.ones(src.shape, device=src.device)) == 0
        return src.masked_fill(is_dropped, self.unk_id)

    def ngram_vectors(self, words: Tensor) -> Tensor | None:
        """Sum the embeddings of the n-grams that end at each word (B, S): (B, S, E); None without n-grams."""
        return sum(ngrams(words) for ngrams in self.ngrams) if len(self.ngrams) else None

    def spelling_vectors(self, batch: LabelledBatch) -> Tensor | None:
        """Encode the spelling of each word: (B, S, F), 0 at padding; None without spelling."""
        if self.spelling is None:
            return None
        assert batch.spelling is not None, "a tokenizer of words provides their spelling"
        vectors = self.spelling(batch.spelling)  # (W, F)
        is_word = ~padding_mask(batch.src_lengths, batch.src.size(1))
        return vectors.new_zeros(*batch.src.shape, vectors.size(1)).masked_scatter(is_word[..., None], vectors)


class LabelHead(nn.Module):
    """Output layer for labels of words or lines."""

    def __init__(self, config: LabellerConfig, size: int, num_labels: int) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.dropout = LockedDropout(config.output_dropout)
        self.projection = VocabularyProjection(nn.Parameter(torch.empty(num_labels, size).normal_(std=size**-0.5)))

    def forward(self, memory: Tensor, lengths: Tensor) -> DecoderOutput:
        """memory (B, S, D), lengths (B,) -> hidden states (B, S, D) of words, or (B, 1, D) of lines."""
        if self.pooling is not None:
            memory = pool_sequence(memory.float(), lengths, self.pooling)[:, None]
        return DecoderOutput(self.dropout(memory), self.projection)


def pool_sequence(memory: Tensor, lengths: Tensor, pooling: SequencePooling) -> Tensor:
    """Pool each row over its length: (B, S, D) -> (B, D). The result does not depend on padding, bit for bit."""
    is_padding = padding_mask(lengths, memory.size(1))
    if pooling == "max":
        return memory.masked_fill(is_padding[..., None], float("-inf")).amax(1)
    rows = torch.arange(len(memory), device=memory.device)[:, None].expand_as(is_padding)[~is_padding]
    sums = memory.new_zeros(len(memory), memory.size(2)).index_add(0, rows, memory[~is_padding])
    return sums / lengths[:, None]


class LabellingModel(nn.Module):
    """Base class of labellers, which define `encode`; implements `Labeller` and `CorpusReader`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight"}
    """Names of the embedding parameters of the source and target side."""
    reader: WordReader
    head: LabelHead

    @property
    def labels_lines(self) -> bool:
        """Whether lines are labelled, rather than words."""
        return self.head.pooling is not None

    def read_corpus(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> Iterator[str]:
        """Choose the n-grams with embeddings: the most frequent ones that occur more than once in the corpus."""
        for ngrams in self.reader.ngrams:
            assert isinstance(ngrams, NgramEmbedding)
            num_known = ngrams.select_frequent(values, offsets)
            yield f"n-grams of {ngrams.length} tokens: {num_known:,} of at most {len(ngrams.known):,}"

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Encode a batch: (B, S, D)."""
        raise NotImplementedError

    def forward(self, batch: LabelledBatch) -> DecoderOutput:
        """Run one pass: the hidden states and the projection to the labels."""
        output: DecoderOutput = self.head(self.encode(batch), batch.src_lengths)
        return output

    @torch.no_grad()
    def label(self, batch: LabelledBatch) -> Tensor:
        """Compute the log-probabilities in nats of all labels: of lines (B, L), or of words, row after row (W, L)."""
        output = self(batch)
        is_word = ~padding_mask(batch.src_lengths, batch.src.size(1))
        hidden = output.hidden[:, 0] if self.labels_lines else output.hidden[is_word]
        return self.head.projection.log_probs(hidden)
