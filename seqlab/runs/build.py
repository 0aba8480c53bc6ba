"""Configs to objects."""

from seqlab.models import (
    FrequencyLabeller,
    FrequencyLabellerConfig,
    GruConfig,
    GruLabellerConfig,
    LstmConfig,
    LstmLabellerConfig,
    Model,
    ModelConfig,
    NgramConfig,
    NgramModel,
    RecurrentLabeller,
    RecurrentLm,
    RecurrentTranslator,
    RnnConfig,
    RnnLabellerConfig,
    Transformer,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtc,
    TransformerCtcConfig,
    TransformerLabeller,
    TransformerLabellerConfig,
    TransformerLm,
    TransformerLmConfig,
    TransformerMlm,
    TransformerMlmConfig,
    TransformerNat,
    TransformerNatConfig,
)
from seqlab.text import Tokenizer, num_labels


def build_model(config: ModelConfig, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> Model:
    """Build a model with random weights for two vocabularies, which are one where the data has one side."""
    vocab_size, bos_id, eos_id = tgt_tokenizer.vocab_size, tgt_tokenizer.bos_id, tgt_tokenizer.eos_id
    unk_id, tags = tgt_tokenizer.unk_id, src_tokenizer.tag_ids
    if isinstance(config, TransformerConfig):
        return Transformer(config, src_tokenizer.vocab_size, vocab_size, bos_id, eos_id, unk_id, tags)
    if isinstance(config, TransformerCtcConfig):
        special = {"blank_id": tgt_tokenizer.blank_id, "mask_id": tgt_tokenizer.mask_id}
        return TransformerCtc(config, src_tokenizer.vocab_size, vocab_size, **special, bos_id=bos_id, eos_id=eos_id)
    if isinstance(config, TransformerNatConfig | TransformerCmlmConfig):
        mask_id = tgt_tokenizer.mask_id
        return TransformerNat(config, src_tokenizer.vocab_size, vocab_size, mask_id=mask_id, eos_id=eos_id)
    if isinstance(config, RnnConfig | LstmConfig | GruConfig):
        return RecurrentTranslator(config, src_tokenizer.vocab_size, vocab_size, bos_id, eos_id, unk_id, tags)
    if isinstance(config, NgramConfig):
        return NgramModel(config, vocab_size, pad_id=tgt_tokenizer.pad_id, bos_id=bos_id, eos_id=eos_id)
    if isinstance(config, TransformerLmConfig):
        return TransformerLm(config, vocab_size, eos_id)
    if isinstance(config, TransformerMlmConfig):
        return TransformerMlm(config, vocab_size, pad_id=tgt_tokenizer.pad_id)
    if isinstance(config, TransformerLabellerConfig):
        return TransformerLabeller(config, src_tokenizer.vocab_size, unk_id, num_labels(tgt_tokenizer))
    if isinstance(config, RnnLabellerConfig | LstmLabellerConfig | GruLabellerConfig):
        return RecurrentLabeller(config, src_tokenizer.vocab_size, unk_id, num_labels(tgt_tokenizer))
    if isinstance(config, FrequencyLabellerConfig):
        return FrequencyLabeller(config, src_tokenizer.vocab_size, num_labels(tgt_tokenizer))
    return RecurrentLm(config, vocab_size, eos_id)
