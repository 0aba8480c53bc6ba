"""Small translators in training mode, and batches of random ids."""

import torch
from torch import Tensor

from seqlab.data.batch import Seq2SeqBatch, collate
from seqlab.models import LstmConfig, RecurrentTranslator, Transformer, TransformerConfig

VOCAB_SIZE = 23


def make_model(dropout: float = 0.0, seed: int = 1) -> Transformer:
    """Build a Transformer in training mode. The same seed gives the same weights."""
    torch.manual_seed(seed)
    config = TransformerConfig(
        d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, dropout=dropout
    )
    return Transformer(config, VOCAB_SIZE, VOCAB_SIZE, bos_id=1, eos_id=2).train()


def make_lstm() -> RecurrentTranslator:
    """Build a recurrent model with attention and copying, in training mode."""
    torch.manual_seed(1)
    config = LstmConfig(hidden_size=16, rotary_cross_attention=True, copying=True, dropout=0.0)
    return RecurrentTranslator(config, VOCAB_SIZE, VOCAB_SIZE, bos_id=1, eos_id=2).train()


def make_batch(lengths: list[tuple[int, int]], seed: int = 0) -> Seq2SeqBatch:
    """Collate random ids for pairs of (source, target) lengths."""
    generator = torch.Generator().manual_seed(seed)

    def row(length: int) -> Tensor:
        return torch.randint(4, VOCAB_SIZE, (length,), generator=generator)

    rows = [(row(src), row(tgt)) for src, tgt in lengths]
    return collate([src for src, _ in rows], [tgt for _, tgt in rows], range(len(rows)), pad_id=0, bos_id=1, eos_id=2)
