"""Architectures: a batch in, outputs out. One file holds one architecture; all families are named here, once."""

from typing import Annotated

from pydantic import Field

from seqlab.models.ngram import NgramConfig, NgramModel
from seqlab.models.transformer import Transformer, TransformerConfig
from seqlab.models.transformer_lm import TransformerLm, TransformerLmConfig

ModelConfig = Annotated[TransformerConfig | TransformerLmConfig | NgramConfig, Field(discriminator="family")]
LanguageModel = TransformerLm | NgramModel
Model = Transformer | LanguageModel

__all__ = [
    "LanguageModel",
    "Model",
    "ModelConfig",
    "NgramConfig",
    "NgramModel",
    "Transformer",
    "TransformerConfig",
    "TransformerLm",
    "TransformerLmConfig",
]
