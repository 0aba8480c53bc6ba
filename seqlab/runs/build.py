"""Configs to objects."""

from seqlab.models import MODELS, ModelConfig, Transformer
from seqlab.text import Tokenizer


def build_model(config: ModelConfig, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> Transformer:
    """Build a model with random weights for two vocabularies."""
    return MODELS[type(config)](
        config,
        src_vocab_size=src_tokenizer.vocab_size,
        tgt_vocab_size=tgt_tokenizer.vocab_size,
        bos_id=tgt_tokenizer.bos_id,
        eos_id=tgt_tokenizer.eos_id,
    )
