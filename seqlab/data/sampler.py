"""Samplers of training steps of pairs, resumable at any position, and batches for validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqlab.data.batch import Batch, LabelledBatch, Seq2SeqBatch, collate, collate_labelled
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.epoch import RowRanges, derive_seed, epoch_chunks, planned_steps, seeded_generator
from seqlab.data.labels import label_numbers
from seqlab.data.pairs_config import PairsConfig
from seqlab.data.plan import Indices, cut_micro_steps, length_order, plan_chunk
from seqlab.data.ragged import RaggedArray
from seqlab.data.step import (
    Position,
    TrainingStep,
    collate_rank,
    next_position,
    nonempty_micro_steps,
    split_among_ranks,
)
from seqlab.text import Tokenizer

BatchT = TypeVar("BatchT", bound=Batch)


@dataclass(frozen=True)
class Chunk:
    """Pairs that are shuffled and divided into steps together."""

    indices: NDArray[np.int64]  # of the pairs in the corpus
    src: RaggedArray
    tgt: RaggedArray
    src_lengths: Indices  # including special ids
    tgt_lengths: Indices
    steps: list[list[Indices]]  # indices into the fields above


class PairsSampler(ABC, Generic[BatchT]):
    """Base class of samplers that yield training steps of pairs without end, epoch after epoch.

    A step is a pure function of (pairs, config, seed, position). No state is carried between chunks: to resume at a
    position, only its chunk is planned again. The samplers of all ranks, with otherwise equal arguments, yield their
    parts of the same steps.
    """

    def __init__(
        self,
        pairs: EncodedCorpus,
        config: PairsConfig,
        seed: int,
        src_tokenizer: Tokenizer,
        tgt_tokenizer: Tokenizer,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.pairs = pairs
        self._rank, self._world_size = rank, world_size
        self._config = config
        self._seed = seed
        self.tokenizers = (src_tokenizer, tgt_tokenizer)
        if config.subword_sampling > 0:
            for tokenizer, settings in zip(self.tokenizers, config.tokenizers, strict=True):
                if not tokenizer.can_sample:
                    raise ValueError(
                        f"`subword_sampling` must be 0 for a `{settings.kind}` tokenizer, which has only one "
                        f"segmentation of a line, but is {config.subword_sampling} instead."
                    )
        if sum(len(span) * weight for span, weight in zip(pairs.spans, config.train_weights, strict=True)) < 1:
            raise ValueError("`train_weights` are so small that an epoch has less than one pair: raise them.")

    def steps(self, after: Position | None = None) -> Iterator[TrainingStep[BatchT]]:
        """Yield the steps after a position, or from the first step if it is None, without end."""
        start, config = next_position(after), self._config
        while True:
            rng = seeded_generator(self._seed, start.epoch)
            chunks = epoch_chunks(self.pairs.spans, config.train_weights, config.chunk_pairs, rng)
            for planned in planned_steps(chunks, start, partial(self._plan, start.epoch)):
                yield self._step(*planned)
            start = Position(start.epoch + 1, 0, 0)

    def _plan(self, epoch: int, number: int, blocks: RowRanges) -> Chunk:
        rng = seeded_generator(self._seed, epoch, number)
        indices = blocks.draw(rng)
        src, tgt = self.pairs.src.take(indices), self.pairs.tgt.take(indices)
        if self._config.subword_sampling > 0:
            src = self._sample(0, src, self.pairs.src_text, indices, derive_seed(self._seed, epoch, number, 0))
            tgt = self._sample(1, tgt, self.pairs.tgt_text, indices, derive_seed(self._seed, epoch, number, 1))
        src_lengths, tgt_lengths = self._lengths(src, tgt)
        steps = plan_chunk(
            src_lengths,
            tgt_lengths,
            rng,
            batch_tokens=self._config.batch_tokens,
            micro_batch_tokens=self._config.micro_batch_tokens,
        )
        return Chunk(indices, src, tgt, src_lengths, tgt_lengths, steps)

    def _step(self, chunk: Chunk, position: Position, epoch: float) -> TrainingStep[BatchT]:
        """Collate this rank's part of a step."""
        micro_steps = chunk.steps[position.step]
        shares = split_among_ranks(micro_steps, np.maximum(chunk.src_lengths, chunk.tgt_lengths), self._world_size)
        parts = nonempty_micro_steps(shares)
        return TrainingStep(
            position,
            epoch,
            collate_rank(shares, self._rank, partial(self._collate, chunk)),
            num_src_tokens=sum(int(chunk.src_lengths[rows].sum()) for rows in parts),
            num_tgt_tokens=sum(int(chunk.tgt_lengths[rows].sum()) for rows in parts),
            padded_src_tokens=sum(len(rows) * int(chunk.src_lengths[rows].max()) for rows in parts),
            padded_tgt_tokens=sum(len(rows) * int(chunk.tgt_lengths[rows].max()) for rows in parts),
        )

    def _sample(
        self, side: int, rows: RaggedArray, text: RaggedArray | None, indices: NDArray[np.int64], seed: int
    ) -> RaggedArray:
        if text is None:
            raise ValueError("`subword_sampling` needs the raw text, but the corpus was prepared without it.")
        strength = self._config.subword_sampling
        sampled = self.tokenizers[side].sample(text.take(indices).texts(), seed=seed, strength=strength)
        # A segmentation longer than `max_length` is replaced by the default segmentation, which is short enough.
        limit = self._config.max_length
        return RaggedArray.from_lists([row if len(row) <= limit else rows[i].tolist() for i, row in enumerate(sampled)])

    @abstractmethod
    def _lengths(self, src: RaggedArray, tgt: RaggedArray) -> tuple[Indices, Indices]:
        """Return the lengths of both sides in a batch, in tokens."""

    @abstractmethod
    def _collate(self, chunk: Chunk, rows: Indices) -> BatchT:
        """Collate some rows of a chunk."""


class Seq2SeqSampler(PairsSampler[Seq2SeqBatch]):
    """Sampler for translation; step sizes are in target tokens."""

    def _lengths(self, src: RaggedArray, tgt: RaggedArray) -> tuple[Indices, Indices]:
        return src.lengths + 1, tgt.lengths + 1

    def _collate(self, chunk: Chunk, rows: Indices) -> Seq2SeqBatch:
        return collate_rows(chunk.src, chunk.tgt, rows, self.tokenizers[1], chunk.indices[rows])


def ordered_batches(pairs: EncodedCorpus, micro_batch_tokens: int, tokenizer: Tokenizer) -> Iterator[Seq2SeqBatch]:
    """Yield every pair once for validation, in batches of similar length, which are the same in every call."""
    src_lengths, tgt_lengths = (rows.lengths + 1 for rows in pairs.columns)
    order = length_order(src_lengths, tgt_lengths, seeded_generator(0), nudged_share=0)
    for indices in cut_micro_steps(order, np.maximum(src_lengths, tgt_lengths), micro_batch_tokens):
        yield collate_rows(pairs.src, pairs.tgt, indices, tokenizer)


def collate_rows(
    src: Sequence[ArrayLike],
    tgt: Sequence[ArrayLike] | None,
    rows: Sequence[int] | NDArray[np.int64],
    tokenizer: Tokenizer,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
) -> Seq2SeqBatch:
    """Collate rows of encoded text without special ids.

    Args:
        src: ids of the source lines.
        tgt: ids of the target lines; None for a batch without targets.
        rows: indices of the lines to collate.
        tokenizer: tokenizer of the target, for the special ids.
        indices: `indices` of the batch; by default `rows`.
    """
    return collate(
        [src[row] for row in rows],
        None if tgt is None else [tgt[row] for row in rows],
        rows if indices is None else indices,
        pad_id=tokenizer.pad_id,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
    )


class LabeledSampler(PairsSampler[LabelledBatch]):
    """Sampler for labeling; step sizes are in source tokens."""

    def _lengths(self, src: RaggedArray, tgt: RaggedArray) -> tuple[Indices, Indices]:
        return src.lengths, src.lengths

    def _collate(self, chunk: Chunk, rows: Indices) -> LabelledBatch:
        return _labeled_batch(self.pairs, chunk.indices[rows], self.tokenizers)


def ordered_labeled_batches(
    pairs: EncodedCorpus, micro_batch_tokens: int, tokenizers: tuple[Tokenizer, Tokenizer]
) -> Iterator[LabelledBatch]:
    """Yield every line once for validation, in batches of similar length, which are the same in every call."""
    lengths = pairs.src.lengths
    order = length_order(lengths, lengths, seeded_generator(0), nudged_share=0)
    for indices in cut_micro_steps(order, lengths, micro_batch_tokens):
        yield _labeled_batch(pairs, indices, tokenizers)


def _labeled_batch(
    pairs: EncodedCorpus, indices: Sequence[int] | Indices, tokenizers: tuple[Tokenizer, Tokenizer]
) -> LabelledBatch:
    assert pairs.src_text is not None, "labeled lines are cached with their text"
    src_tokenizer, tgt_tokenizer = tokenizers
    return collate_labelled(
        [pairs.src[index] for index in indices],
        [label_numbers(pairs.tgt[index], tgt_tokenizer) for index in indices],
        [pairs.src_text[index] for index in indices] if src_tokenizer.has_words else None,
        indices,
        pad_id=tgt_tokenizer.pad_id,
    )
