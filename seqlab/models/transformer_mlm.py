"""Masked language model: a bidirectional Transformer encoder (BERT, Devlin et al. 2019).

Its encoder weights have the names of a translator's (`encoder.*`), so a translator can be initialized from it.

Shapes: B rows of text, T positions, D d_model.
"""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import MAX_COUNT
from seqlab.base.config_class import dataclass
from seqlab.data.batch import TextBatch
from seqlab.models.config import SETTINGS, TokenSide
from seqlab.models.interfaces import DecoderOutput
from seqlab.models.transformer_encoder import TokenTransformerConfig, TransformerEncoder, init_linear_weights
from seqlab.nn.embedding import Embedding
from seqlab.nn.projection import VocabularyProjection


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerMlmConfig(TokenTransformerConfig):
    """A masked language model (BERT); its encoder has the defaults of a translator's."""

    family: Literal["transformer_mlm"] = "transformer_mlm"
    """Name of the model family."""
    max_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 512
    """Maximum row length in tokens, at least `data.block_length`."""
    tied_embeddings: bool = True
    """Whether the output projection shares the weight of the embeddings."""

    data_defaults: ClassVar[dict[str, float]] = {"mask_share": 0.15}

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of tokens in the vocabulary."""
        return int(tgt.vocab_size)

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerMlm":
        """Build the model."""
        return TransformerMlm(self, tgt.vocab_size, pad_id=tgt.pad_id)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        if not data.mask_share:
            raise ValueError(
                f"`model.family: {self.family}` is trained on masked tokens, but `data.mask_share` is 0: set it, "
                "for example to 0.15."
            )
        if data.block_length > self.max_length:
            raise ValueError(
                f"`data.block_length` ({data.block_length}) must be at most `model.max_length` ({self.max_length})."
            )


class TransformerMlm(nn.Module):
    """Masked language model; a `Scorer` of the masked tokens of a batch."""

    embeddings: ClassVar[dict[str, str]] = {"tgt": "encoder.embedding.weight"}
    """Names of the embedding parameters of the source and target side."""

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
        """Run one pass over rows with masked tokens: hidden states (B, T, D)."""
        lengths = (batch.tgt_in != self.pad_id).sum(1)
        hidden, _ = self.encoder(batch.tgt_in, lengths)
        return DecoderOutput(hidden[:, : batch.tgt_in.size(1)], self.projection)

    def score(self, batch: TextBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at ignored positions."""
        return self(batch).scores(batch.tgt_out)
