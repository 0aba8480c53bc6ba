"""Configs to objects."""

from seqlab.models import LANGUAGE_MODELS, Model, ModelConfig, Transformer, TransformerConfig
from seqlab.text import Tokenizer


def build_model(config: ModelConfig, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> Model:
    """Build a model with random weights for two vocabularies, which are one where the data has one side."""
    if isinstance(config, TransformerConfig):
        return Transformer(
            config,
            src_vocab_size=src_tokenizer.vocab_size,
            tgt_vocab_size=tgt_tokenizer.vocab_size,
            bos_id=tgt_tokenizer.bos_id,
            eos_id=tgt_tokenizer.eos_id,
        )
    return LANGUAGE_MODELS[type(config)](config, vocab_size=tgt_tokenizer.vocab_size, eos_id=tgt_tokenizer.eos_id)
