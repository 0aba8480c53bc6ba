"""Inputs of words: embeddings, n-grams and spelling.

Shapes: B lines, S words of a line, W words of a batch, E embedding size, F spelling features.
"""

from collections.abc import Iterator
from typing import Annotated, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import CountOrZero
from seqlab.base.config_class import dataclass
from seqlab.data.batch import SPELLING_VOCAB_SIZE, LabelledBatch
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.encoder import EncoderConfig
from seqlab.nn.embedding import CharacterCnn
from seqlab.nn.layers import Dropout, EmbeddingDropout, Linear
from seqlab.nn.masks import padding_mask
from seqlab.nn.ngram_embedding import NgramEmbedding

DEFAULT_SIZE = 128
"""Default size of embeddings for encoders that accept any."""
MAX_NGRAM_STD = 0.1
"""Maximum standard deviation of the initial vectors of n-grams that are added to uniform embeddings."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TokenInput:
    """Fields of models that read words."""

    embedding_size: Size | None = None
    """Size of the word embeddings; null takes the size that the encoder needs, or else 128."""
    embedding_dropout: Probability = 0.0
    """Probability of dropping all occurrences of a word in a micro-step."""
    unknown_share: Probability = 0.0
    """Probability of replacing a word by the unknown word in training, so that the embedding of `<unk>` is trained."""
    spelling_size: CountOrZero = 0
    """Number of convolution filters over the bytes of each word, which help with unknown words; 0 for none. Needs a
    tokenizer of kind `words`."""
    spelling_dropout: Probability = 0.3
    """With `spelling_size`: dropout probability of the bytes' vectors, with one mask per word."""
    ngram_order: Annotated[int, Field(ge=1, le=5)] = 1
    """Maximum order of n-gram embeddings, which are added to the embedding of each n-gram's last token; 1 for none. A
    model that starts from another run (`init_from`) keeps the n-grams of that run."""
    num_ngrams: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    """With `ngram_order` above 1: maximum number of n-gram embeddings per order. The most frequent n-grams have one, if
    they occur more than once in the training data; `data.train_weights` does not affect the counts."""
    ngram_dropout: Probability = 0.5
    """With `ngram_order` above 1: probability of dropping all occurrences of an n-gram in a micro-step."""


class TokenEmbedding(nn.Module):
    """Embeddings of words as an encoder needs them."""

    def __init__(self, vocab_size: int, size: int, encoder: EncoderConfig, dropout: float) -> None:
        super().__init__()
        self.scale = 1.0
        if encoder.embedding_range is None:
            self.scale = size**0.5
            self.weight = nn.Parameter(torch.empty(vocab_size, size).normal_(std=size**-0.5))
        else:
            self.weight = nn.Parameter(nn.Embedding(vocab_size, size).weight)  # draws as in version 0.3.0
            nn.init.uniform_(self.weight, -encoder.embedding_range, encoder.embedding_range)
        self.dropout = EmbeddingDropout(dropout, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, S) -> vectors (B, S, E) in fp32."""
        x: Tensor = self.dropout(F.embedding(ids, self.weight).float(), ids)
        return x if self.scale == 1 else x * self.scale


class WordFeatures(nn.Module):
    """Features of words besides their embeddings: word dropout, n-gram embeddings and spelling."""

    def __init__(self, config: TokenInput, encoder: EncoderConfig, vocab_size: int, unk_id: int, size: int) -> None:
        """`size`: E."""
        super().__init__()
        self.unk_id, self.word_dropout = unk_id, Dropout(config.unknown_share)
        self.scale, std = size**0.5, size**-0.5
        if encoder.embedding_range is not None:
            self.scale, std = 1.0, min(MAX_NGRAM_STD, encoder.embedding_range / 3**0.5)
        self.spelling = (
            CharacterCnn(SPELLING_VOCAB_SIZE, config.spelling_size, dropout=config.spelling_dropout)
            if config.spelling_size
            else None
        )
        self.ngrams = nn.ModuleList(
            NgramEmbedding(config.num_ngrams, length, vocab_size, size, std=std, dropout=config.ngram_dropout)
            for length in range(2, config.ngram_order + 1)
        )
        is_added = config.spelling_size > 0 and encoder.input_size is not None
        self.project = Linear(config.spelling_size, size) if is_added else None

    def drop_words(self, src: Tensor) -> Tensor:
        """Replace random words of src (B, S) by unk in training."""
        if not self.training or self.word_dropout.p == 0:
            return src
        is_dropped = self.word_dropout(torch.ones(src.shape, device=src.device)) == 0
        return src.masked_fill(is_dropped, self.unk_id)

    def forward(self, words: Tensor, batch: LabelledBatch) -> tuple[Tensor | None, Tensor | None]:
        """Compute the features of words (B, S).

        Returns:
            Vectors (B, S, E) to add to the embeddings, and vectors (B, S, F) to append; None for none.
        """
        ngrams = self.ngram_vectors(words)
        spelling = self._spelling(batch)
        added = [] if ngrams is None else [ngrams if self.scale == 1 else ngrams * self.scale]
        if self.project is not None:
            added.append(self.project(spelling).float())
        return (cast(Tensor, sum(added)) if added else None), (spelling if self.project is None else None)

    def ngram_vectors(self, words: Tensor) -> Tensor | None:
        """Sum the embeddings of the n-grams that end at each word (B, S): (B, S, E); None without n-grams."""
        vectors: list[Tensor] = [ngrams(words) for ngrams in self.ngrams]
        return cast(Tensor, sum(vectors)) if vectors else None

    def _spelling(self, batch: LabelledBatch) -> Tensor | None:
        """Encode the spelling of each word: (B, S, F), 0 at padding; None without spelling."""
        if self.spelling is None:
            return None
        assert batch.spelling is not None, "a tokenizer of words provides their spelling"
        vectors = self.spelling(batch.spelling)  # (W, F)
        is_word = ~padding_mask(batch.src_lengths, batch.src.size(1))
        return vectors.new_zeros(*batch.src.shape, vectors.size(1)).masked_scatter(is_word[..., None], vectors)

    def read_corpus(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> Iterator[str]:
        """Choose the n-grams with embeddings: the most frequent ones that occur more than once in the corpus."""
        for ngrams in self.ngrams:
            assert isinstance(ngrams, NgramEmbedding)
            num_known = ngrams.select_frequent(values, offsets)
            yield f"n-grams of {ngrams.length} tokens: {num_known:,} of at most {len(ngrams.known):,}"
