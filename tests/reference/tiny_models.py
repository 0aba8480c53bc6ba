"""Small translators in training mode, and batches of random ids."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, Seq2SeqBatch, collate
from seqlab.models import RecurrentConfig, RecurrentTranslator, Transformer, TransformerConfig

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
    config = RecurrentConfig(family="lstm", hidden_size=16, rotary_cross_attention=True, copying=True, dropout=0.0)
    return RecurrentTranslator(config, VOCAB_SIZE, VOCAB_SIZE, bos_id=1, eos_id=2).train()


def make_batch(lengths: list[tuple[int, int]], seed: int = 0) -> Seq2SeqBatch:
    """Collate random ids for pairs of (source, target) lengths."""
    generator = torch.Generator().manual_seed(seed)

    def row(length: int) -> Tensor:
        return torch.randint(4, VOCAB_SIZE, (length,), generator=generator)

    rows = [(row(src), row(tgt)) for src, tgt in lengths]
    return collate([src for src, _ in rows], [tgt for _, tgt in rows], range(len(rows)), pad_id=0, bos_id=1, eos_id=2)


def rows_of(batch: Seq2SeqBatch, rows: Sequence[int]) -> Seq2SeqBatch:
    """Select rows and keep all columns, even those that hold only padding."""
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    index = torch.tensor(rows)
    tgt_out = batch.tgt_out[index]
    return Seq2SeqBatch(
        batch.src[index],
        batch.src_lengths[index],
        batch.tgt_in[index],
        tgt_out,
        batch.indices[index],
        int((tgt_out != IGNORE).sum()),
    )


def with_more_padding(batch: Seq2SeqBatch, src: int, tgt: int) -> Seq2SeqBatch:
    """Add columns of padding."""
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    pad = nn.functional.pad
    return replace(
        batch,
        src=pad(batch.src, (0, src)),
        tgt_in=pad(batch.tgt_in, (0, tgt)),
        tgt_out=pad(batch.tgt_out, (0, tgt), value=IGNORE),
    )


def with_empty_rows(batch: Seq2SeqBatch, count: int) -> Seq2SeqBatch:
    """Add rows without target tokens."""
    more = rows_of(batch, [0] * count)
    assert more.tgt_out is not None
    more = replace(more, tgt_out=torch.full_like(more.tgt_out, IGNORE))
    names = ("src", "src_lengths", "tgt_in", "tgt_out", "indices")
    return replace(batch, **{name: torch.cat([getattr(batch, name), getattr(more, name)]) for name in names})
