"""Small translators of every family, and four sentence pairs of different lengths."""

from typing import Any

import torch

from seqlab.data.batch import Seq2SeqBatch, collate
from seqlab.models import RecurrentConfig, RecurrentTranslator, Transformer, TransformerConfig

Translator = Transformer | RecurrentTranslator

PAD, BOS, EOS, UNK, VOCAB = 0, 1, 2, 3, 40
SRC = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16], [17], [18, 19, 20, 21]]
TGT = [[25, 26, 27, 28, 29], [30], [31, 32, 33, 34, 35, 36, 37, 38, 39, 5, 6], [7, 8]]
ALL = list(range(len(SRC)))

SIZES: dict[str, Any] = {"d_model": 32, "d_ff": 48, "num_encoder_layers": 2, "num_decoder_layers": 2}
TRANSFORMERS = {
    "pre": TransformerConfig(**SIZES, num_heads=4, norm="pre"),
    "post": TransformerConfig(**SIZES, num_heads=4, norm="post", activation="gelu"),
    "learned": TransformerConfig(**SIZES, num_heads=2, positions="learned", max_length=12),
    "rotary": TransformerConfig(
        **SIZES, num_heads=4, positions="rotary", activation="swiglu", tied_embeddings="decoder"
    ),
    "rotary cross-attention": TransformerConfig(**SIZES, num_heads=2, positions="rotary", rotary_cross_attention=True),
    "untied": TransformerConfig(
        **{**SIZES, "num_encoder_layers": 1, "num_decoder_layers": 3}, num_heads=1, tied_embeddings="none"
    ),
}
COPYING = {
    "transformer, copying": TransformerConfig(**SIZES, num_heads=4, copying=True),
    "lstm, copying": RecurrentConfig(family="lstm", hidden_size=16, copying=True),
    "gru, without input feeding, copying": RecurrentConfig(
        family="gru", hidden_size=16, input_feeding=False, copying=True
    ),
}
RECURRENT = {
    "rnn": RecurrentConfig(family="rnn", hidden_size=24, attention="dot", bridge="copy", tied_embeddings="decoder"),
    "lstm": RecurrentConfig(family="lstm", hidden_size=32, num_encoder_layers=2, num_decoder_layers=2, residual=True),
    "lstm, without input feeding": RecurrentConfig(
        family="lstm",
        hidden_size=24,
        num_decoder_layers=3,
        input_feeding=False,
        attention="additive",
        embedding_size=16,
    ),
    "gru": RecurrentConfig(
        family="gru", hidden_size=16, num_encoder_layers=3, attention="additive", tied_embeddings="none"
    ),
    "gru, one direction": RecurrentConfig(
        family="gru", hidden_size=16, bidirectional=False, bridge="zero", input_feeding=False
    ),
    "lstm, rotary": RecurrentConfig(family="lstm", hidden_size=16, rotary_cross_attention=True),
    "gru, without input feeding, rotary": RecurrentConfig(
        family="gru", hidden_size=16, attention="dot", rotary_cross_attention=True, input_feeding=False
    ),
}


def build(config: TransformerConfig | RecurrentConfig) -> Translator:
    """Build a model in evaluation mode, with random biases and norms so that errors in them change the output."""
    torch.manual_seed(0)
    family = Transformer if isinstance(config, TransformerConfig) else RecurrentTranslator
    model = family(config, VOCAB, VOCAB, BOS, EOS, UNK).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch_of(rows: list[int], with_target: bool = True) -> Seq2SeqBatch:
    """Collate the pairs with these indices."""
    tgt = [TGT[i] for i in rows] if with_target else None
    return collate([SRC[i] for i in rows], tgt, rows, pad_id=PAD, bos_id=BOS, eos_id=EOS)
