"""Encoded lines with labels -> training steps, and the batches of validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seqlab.data.batch import LabelledBatch, collate_labelled
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.epoch import generator
from seqlab.data.labels import numbered
from seqlab.data.plan import Indices, cut, length_order
from seqlab.data.rows import Rows
from seqlab.data.sampler import Chunk, PairsSampler
from seqlab.text import Tokenizer


class LabelledSampler(PairsSampler[LabelledBatch]):
    """Steps of labelling: what they hold is counted in source tokens."""

    def _lengths(self, src: Rows, tgt: Rows) -> tuple[Indices, Indices]:
        return src.lengths, src.lengths

    def _collate(self, chunk: Chunk, rows: Indices) -> LabelledBatch:
        return _batch(self.pairs, chunk.indices[rows], self.tokenizers)


def ordered_labelled_batches(
    pairs: EncodedCorpus, micro_batch_tokens: int, tokenizers: tuple[Tokenizer, Tokenizer]
) -> Iterator[LabelledBatch]:
    """Yield every line once in batches of similar length, the same in every call: for validation."""
    lengths = pairs.src.lengths
    order = length_order(lengths, lengths, generator(0), nudged_share=0)
    for indices in cut(order, lengths, micro_batch_tokens):
        yield _batch(pairs, indices, tokenizers)


def _batch(
    pairs: EncodedCorpus, indices: Sequence[int] | Indices, tokenizers: tuple[Tokenizer, Tokenizer]
) -> LabelledBatch:
    assert pairs.src_text is not None, "lines with labels are cached with their text"
    src_tokenizer, tgt_tokenizer = tokenizers
    return collate_labelled(
        [pairs.src[index] for index in indices],
        [numbered(pairs.tgt[index], tgt_tokenizer) for index in indices],
        [pairs.src_text[index] for index in indices] if src_tokenizer.has_words else None,
        indices,
        pad_id=tgt_tokenizer.pad_id,
    )
