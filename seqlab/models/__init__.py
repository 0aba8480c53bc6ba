"""Architectures: a batch in, outputs out. One file holds one architecture; all families are named here, once."""

from typing import Annotated

from pydantic import Field

from seqlab.models.transformer import Transformer, TransformerConfig
from seqlab.models.transformer_lm import TransformerLm, TransformerLmConfig

ModelConfig = Annotated[TransformerConfig | TransformerLmConfig, Field(discriminator="family")]
Model = Transformer | TransformerLm
LANGUAGE_MODELS: dict[type, type[TransformerLm]] = {TransformerLmConfig: TransformerLm}

__all__ = [
    "LANGUAGE_MODELS",
    "Model",
    "ModelConfig",
    "Transformer",
    "TransformerConfig",
    "TransformerLm",
    "TransformerLmConfig",
]
