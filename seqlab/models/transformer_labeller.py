"""Transformer labeller of words or lines: an encoder with an output layer.

Its encoder weights have the names of a masked language model's (`encoder.*`), so they can be initialized from one
(`init_parts: matching`).

Shapes: B lines, S words, D d_model.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, Probability, Size, TokenSide
from seqlab.models.labelling import LabelHead, LabellerConfig, LabellingModel, WordReader
from seqlab.models.transformer_encoder import TransformerEncoder, TransformerEncoderConfig, init_linear_weights
from seqlab.nn.embedding import Embedding
from seqlab.nn.layers import Linear


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerLabellerConfig(LabellerConfig, TransformerEncoderConfig):
    """A Transformer encoder that labels words or lines."""

    family: Literal["transformer_labeller"] = "transformer_labeller"
    """Name of the model family."""
    d_model: Size = 128
    """Size of the hidden states."""
    d_ff: Size = 512
    """Size of the feed-forward networks' hidden layer."""
    num_encoder_layers: Size = 2
    """Number of layers."""
    dropout: Probability = 0.3
    """Dropout probability of embeddings and residual branches; on the CPU rounded to a multiple of 1/256."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Maximum line length in tokens at inference; longer lines are cut."""

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerLabeller":
        """Build the model."""
        return TransformerLabeller(self, src.vocab_size, src.unk_id, tgt.num_labels)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        super().check_data(data)
        if self.positions == "learned" and data.max_length > self.max_length:
            raise ValueError(
                f"`model.positions: learned` needs a `model.max_length` ({self.max_length}) of at least "
                f"`data.max_length` ({data.max_length})."
            )


class TransformerLabeller(LabellingModel):
    """Transformer labeller; implements `Labeller`."""

    def __init__(self, config: TransformerLabellerConfig, vocab_size: int, unk_id: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        std = config.d_model**-0.5
        weight = nn.Parameter(torch.empty(vocab_size, config.d_model).normal_(std=std))
        embedding = Embedding(weight, config.positions, config.max_length, config.dropout)
        self.encoder = TransformerEncoder(config, embedding)
        self.reader = WordReader(config, vocab_size, unk_id, size=config.d_model, std=std, dropout=config.dropout)
        self.to_model = Linear(config.spelling_size, config.d_model) if config.spelling_size else None
        self.head = LabelHead(config, config.d_model, num_labels)
        self.encoder.apply(init_linear_weights)

    def encode(self, batch: LabelledBatch) -> Tensor:
        """Encode a batch: (B, S, D)."""
        words = self.reader.drop_words(batch.src)
        ngrams, spelling = self.reader.ngram_vectors(words), self.reader.spelling_vectors(batch)
        parts = [] if ngrams is None else [ngrams * self.encoder.embedding.scale]
        parts += [] if self.to_model is None else [self.to_model(spelling).float()]
        memory, _ = self.encoder(words, batch.src_lengths, sum(parts) if parts else None)
        return memory[:, : batch.src.size(1)]
