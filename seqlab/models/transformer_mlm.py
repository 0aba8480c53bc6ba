"""The masked Transformer (Devlin et al. 2019, BERT): an encoder that fills in hidden tokens from both sides of them.

It is the encoder of a translator under the same names, `encoder.*`: a translator can start from it.

Shapes: B rows of text, T positions, D d_model.
"""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.data.batch import TextBatch
from seqlab.models.config import SETTINGS, TokenSide
from seqlab.models.interfaces import DecoderOutput
from seqlab.models.transformer_encoder import TransformerEncoder, TransformerEncoderConfig, init_linear_weights
from seqlab.nn.embedding import Embedding
from seqlab.nn.projection import VocabularyProjection


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerMlmConfig(TransformerEncoderConfig):
    """A masked Transformer; its encoder has the defaults of a translator's."""

    family: Literal["transformer_mlm"] = "transformer_mlm"
    """Which architecture this is."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Longest row in tokens, at least `data.block_length`."""
    tied_embeddings: bool = True
    """Whether the output shares the weight of the input."""

    data_defaults: ClassVar[dict[str, float]] = {"mask_share": 0.15}

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerMlm":
        """Build the model."""
        return TransformerMlm(self, tgt.vocab_size, pad_id=tgt.pad_id)

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        if not data.mask_share:
            raise ValueError(
                f"`model.family: {self.family}` learns to fill in hidden tokens, but `data.mask_share` is 0: set it, "
                "for example to 0.15."
            )
        if data.block_length > self.max_length:
            raise ValueError(
                f"`data.block_length` ({data.block_length}) must be at most `model.max_length` ({self.max_length})."
            )


class TransformerMlm(nn.Module):
    """A bidirectional encoder over text; a `Scorer` of what is hidden in a masked batch."""

    embeddings: ClassVar[dict[str, str]] = {"tgt": "encoder.embedding.weight"}
    """The parameter that the ids of each side are looked up in."""

    def __init__(self, config: TransformerMlmConfig, vocab_size: int, pad_id: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.pad_id = config, vocab_size, pad_id
        std = config.d_model**-0.5
        weight = nn.Parameter(torch.empty(vocab_size, config.d_model).normal_(std=std))
        embedding = Embedding(weight, config.positions, config.max_length, config.dropout)
        if not config.tied_embeddings:
            weight = nn.Parameter(torch.empty(vocab_size, config.d_model).normal_(std=std))
        self.encoder = TransformerEncoder(config, embedding)
        self.projection = VocabularyProjection(weight)
        self.apply(init_linear_weights)

    def forward(self, batch: TextBatch) -> DecoderOutput:
        """Read rows in which some tokens are hidden: hidden states (B, T, D) and what maps them to the vocabulary."""
        lengths = (batch.tgt_in != self.pad_id).sum(1)
        hidden, _ = self.encoder(batch.tgt_in, lengths)
        return DecoderOutput(hidden[:, : batch.tgt_in.size(1)], self.projection)

    def score(self, batch: TextBatch) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out`, 0 where nothing is predicted."""
        return self(batch).scores(batch.tgt_out)
