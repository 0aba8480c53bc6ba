"""Configs to objects."""

from seqlab.models import (
    Model,
    ModelConfig,
    NgramConfig,
    NgramModel,
    RecurrentLm,
    Transformer,
    TransformerConfig,
    TransformerLm,
    TransformerLmConfig,
    TransformerMlm,
    TransformerMlmConfig,
)
from seqlab.text import Tokenizer


def build_model(config: ModelConfig, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> Model:
    """Build a model with random weights for two vocabularies, which are one where the data has one side."""
    vocab_size, bos_id, eos_id = tgt_tokenizer.vocab_size, tgt_tokenizer.bos_id, tgt_tokenizer.eos_id
    if isinstance(config, TransformerConfig):
        return Transformer(
            config,
            src_vocab_size=src_tokenizer.vocab_size,
            tgt_vocab_size=vocab_size,
            bos_id=bos_id,
            eos_id=eos_id,
        )
    if isinstance(config, NgramConfig):
        return NgramModel(config, vocab_size, pad_id=tgt_tokenizer.pad_id, bos_id=bos_id, eos_id=eos_id)
    if isinstance(config, TransformerLmConfig):
        return TransformerLm(config, vocab_size, eos_id)
    if isinstance(config, TransformerMlmConfig):
        return TransformerMlm(config, vocab_size, pad_id=tgt_tokenizer.pad_id)
    return RecurrentLm(config, vocab_size, eos_id)
