"""A Transformer that labels words or lines: the encoder of a translator with a head.

Its encoder has the names of a masked model's, `encoder.*`: it can start from one (`init_parts: matching`).

Shapes: B lines, S words, D d_model.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, Probability, Size, TokenSide
from seqlab.models.labelling import LabelHead, LabellerConfig, LabellingModel, WordReader
from seqlab.models.transformer_encoder import TransformerEncoder, TransformerEncoderConfig, init_linear_weights
from seqlab.nn.embedding import Embedding
from seqlab.nn.layers import Linear


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerLabellerConfig(LabellerConfig, TransformerEncoderConfig):
    """A Transformer encoder that labels."""

    family: Literal["transformer_labeller"] = "transformer_labeller"
    """Which architecture this is."""
    d_model: Size = 128
    """Size of every hidden state."""
    d_ff: Size = 512
    """Size of the hidden layer of the feed-forward networks."""
    num_encoder_layers: Size = 2
    """Layers."""
    dropout: Probability = 0.3
    """Probability of dropping an element of an embedding or of a residual branch; on the CPU rounded to 1/256."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Longest line in tokens that inference reads at once: longer ones are cut."""

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerLabeller":
        """Build the model."""
        return TransformerLabeller(self, src.vocab_size, src.unk_id, tgt.num_labels)

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        super().check_data(data)
        if self.positions == "learned" and data.max_length > self.max_length:
            raise ValueError(
                f"`model.positions: learned` needs `model.max_length` ({self.max_length}) of at least "
                f"`data.max_length` ({data.max_length})."
            )


class TransformerLabeller(LabellingModel):
    """A `Labeller` and a `Scorer`."""

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
        """Read a batch: (B, S, D)."""
        words = self.reader.words(batch.src)
        ngrams, spelt = self.reader.ngram_vectors(words), self.reader.spelt(batch)
        parts = [] if ngrams is None else [ngrams * self.encoder.embedding.scale]
        parts += [] if self.to_model is None else [self.to_model(spelt).float()]
        memory, _ = self.encoder(words, batch.src_lengths, sum(parts) if parts else None)
        return memory[:, : batch.src.size(1)]
