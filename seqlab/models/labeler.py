"""Labelers of words or lines: an encoder with an output layer.

Shapes: B lines, S words of a line, W words of a batch, D output size of the encoder, L labels.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, EmbeddingSize, Probability, SequencePooling, TokenSide, WarmStart
from seqlab.models.encoder import EncoderConfig, EncoderModelConfig
from seqlab.models.label_head import LabelHead
from seqlab.models.outputs import DecoderOutput
from seqlab.models.recurrent_encoder import RecurrentEncoderConfig
from seqlab.models.token_input import DEFAULT_SIZE, TokenEmbedding, TokenInput, WordFeatures
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LabelerConfig(TokenInput, EncoderModelConfig):
    """A labeler of words or lines: an encoder with an output layer."""

    family: Literal["labeler"] = "labeler"
    """Name of the model family."""
    encoder: EncoderConfig = Field(default_factory=RecurrentEncoderConfig)
    """Encoder, chosen by its `family`."""
    pooling: SequencePooling | None = None
    """Pooling of the encoder's outputs over the words of a line, for labels of lines: `mean` or `max`; null takes
    `max`."""
    output_dropout: Probability = 0.3
    """Dropout probability before the output layer."""

    tasks: ClassVar[tuple[str, ...]] = ("labelling",)

    @property
    def embedding(self) -> EmbeddingSize:
        """Size of the embeddings."""
        field = "embedding_size" if self.encoder.input_size is None else f"encoder.{self.encoder.input_field}"
        return EmbeddingSize(field, self.embedding_size or self.encoder.input_size or DEFAULT_SIZE)

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs: its weights are those of the encoder of a translator."""
        # Label ids depend on the frequencies of labels, and the rows of n-grams on the corpus.
        excluded = ("head.", "features.ngrams.")
        return replace(super().warm_start, excluded=excluded, translator_name=_translator_name)

    def build(self, src: TokenSide, tgt: TokenSide) -> "Labeler":
        """Build the model."""
        return Labeler(self, src.vocab_size, src.unk_id, tgt.num_labels)

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
        if self.embedding_size is not None and self.encoder.input_size not in (None, self.embedding_size):
            raise ValueError(
                f"`model.embedding_size` ({self.embedding_size}) must be {self.encoder.input_size}, the size of the "
                f"inputs of `model.encoder.family: {self.encoder.family}`: change it, or set it to null."
            )
        if self.spelling_size and not data.tokenizer.may_be_word_level:
            raise ValueError(
                f"`model.spelling_size` encodes spellings of words, but `data.tokenizer.kind: {data.tokenizer.kind}` "
                "has no words: change one of the two."
            )
        positions = self.encoder.num_learned_positions
        if positions is not None and data.max_length > positions:
            raise ValueError(
                f"`model.encoder.positions: learned` needs a `model.encoder.max_length` ({positions}) of at least "
                f"`data.max_length` ({data.max_length})."
            )


def _translator_name(name: str) -> str | None:
    """Map the name of a weight to its name in the encoder of a translator; None for other weights."""
    for own, other in (("embedding.", "encoder.embedding."), ("encoder.positions.", "encoder.embedding.positions.")):
        if name.startswith(own):
            return other + name.removeprefix(own)
    return name if name.startswith("encoder.") else None


class Labeler(nn.Module):
    """Labeler of words or lines; implements `Labeller` and `CorpusReader`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "embedding.weight"}
    """Names of the embedding parameters of the source and target side."""

    def __init__(self, config: LabelerConfig, vocab_size: int, unk_id: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        encoder, size = config.encoder, config.embedding.size
        # Keep this order: checkpoints store the optimizer's state in the order of the parameters.
        self.embedding = TokenEmbedding(vocab_size, size, encoder, config.embedding_dropout)
        self.encoder = encoder.build(size + (config.spelling_size if encoder.input_size is None else 0))
        self.features = WordFeatures(config, encoder, vocab_size, unk_id, size)
        self.head = LabelHead(self.encoder.output_size, num_labels, config.pooling, config.output_dropout)
        encoder.init_weights(self.encoder)

    @property
    def labels_lines(self) -> bool:
        """Whether lines are labeled, rather than words."""
        return self.head.pooling is not None

    def read_corpus(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> Iterator[str]:
        """Choose the n-grams with embeddings; yield log lines."""
        return self.features.read_corpus(values, offsets)

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Encode a batch: hidden states (B, S, D)."""
        words = self.features.drop_words(batch.src)
        added, appended = self.features(words, batch)
        x = self.encoder.enter(self.embedding(words))
        x = x if added is None else x + added
        x = x if appended is None else torch.cat((x, appended.float()), dim=2)
        hidden: Tensor = self.encoder(x, batch.src_lengths)[0]
        return hidden

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
