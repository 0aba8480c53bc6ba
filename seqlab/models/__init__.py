"""Architectures: a batch in, outputs out. One file holds one architecture; all families are named here, once."""

from seqlab.models.transformer import Transformer, TransformerConfig

ModelConfig = TransformerConfig
MODELS = {TransformerConfig: Transformer}

__all__ = ["MODELS", "ModelConfig", "Transformer", "TransformerConfig"]
