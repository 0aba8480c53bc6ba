"""Sampler of training steps of text, resumable at any position.

A step is a pure function of (text, config, seed, position). The samplers of all ranks, with otherwise equal arguments,
yield their parts of the same steps.

Every row of a batch is a segment of the text. The targets are the ids `values[start:stop]`. The inputs are the id
before the segment, or `start_id` at the start of a document, and all ids of the segment except the last. For masked
text, the inputs are the segment with some ids masked, and only the masked ids are predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import TextBatch, collate_text
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.epoch import RowRanges, epoch_chunks, planned_steps, seeded_generator
from seqlab.data.masking import Masking
from seqlab.data.plan import Indices, cut_micro_steps, plan_chunk
from seqlab.data.step import (
    Position,
    TrainingStep,
    collate_rank,
    next_position,
    nonempty_micro_steps,
    split_among_ranks,
)
from seqlab.data.text_config import TextConfig
from seqlab.data.text_segments import (
    TextSegments,
    collate_packed,
    cut_into_blocks,
    pack_segments,
    random_block_lengths,
    segments_of_lines,
)
from seqlab.text import Tokenizer


def start_id(config: TextConfig, tokenizer: Tokenizer) -> int:
    """Return the first input id of a text: bos for lines; eos for a continuous text, as after a previous line."""
    return tokenizer.eos_id if config.is_continuous else tokenizer.bos_id


RankShares = list[list[Indices]]
"""The micro-steps of each rank, as indices of rows. All ranks have equally many; the last ones may be empty."""


@dataclass(frozen=True)
class _StepPlan:
    """Rows of text, and their division into steps."""

    lengths: Indices  # (rows,): predicted ids of each
    collate: Callable[[Indices], TextBatch]
    steps: Sequence[Any]
    split: Callable[[Any], RankShares]
    """Splits a step among ranks."""


class TextSampler:
    """Sampler that yields training steps of text without end, epoch after epoch."""

    def __init__(
        self,
        text: EncodedCorpus,
        config: TextConfig,
        seed: int,
        tokenizer: Tokenizer,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._text, self._config, self._seed = text, config, seed
        self._pad_id, self._start_id = tokenizer.pad_id, start_id(config, tokenizer)
        self._masking = Masking.from_config(config, tokenizer, seed)
        self._rank, self._world_size = rank, world_size

    def steps(self, after: Position | None = None) -> Iterator[TrainingStep[TextBatch]]:
        """Yield the steps after a position, or from the first step if it is None, without end."""
        start = next_position(after)
        while True:
            yield from self._epoch(start)
            start = Position(start.epoch + 1, 0, 0)

    def _epoch(self, start: Position) -> Iterator[TrainingStep[TextBatch]]:
        if self._config.order == "contiguous":
            yield from self._stream_steps(start)
            return
        rng, spans = seeded_generator(self._seed, start.epoch), self._text.spans
        if self._config.is_continuous:
            planned = planned_steps([rng], start, lambda _, rng: self._plan_blocks(rng))
        else:
            chunks = epoch_chunks(spans, [1.0] * len(spans), self._config.chunk_lines, rng)
            planned = planned_steps(chunks, start, partial(self._plan_lines, start.epoch))
        for plan, position, done in planned:
            yield self._step(position, done, plan.split(plan.steps[position.step]), plan)

    def _plan_blocks(self, rng: np.random.Generator) -> _StepPlan:
        """Divide the blocks of an epoch, in random order, into steps; their boundaries differ between epochs."""
        length, total = self._config.block_length, self._text.num_tokens
        shift = int(rng.integers(min(length, total)))
        blocks = cut_into_blocks(total, length, shift)
        steps = self._divide_into_steps(rng.permutation(len(blocks)), total)
        return self._plan(blocks, steps, lambda rows: self._split_among_ranks(rows, length))

    def _stream_steps(self, start: Position) -> Iterator[TrainingStep[TextBatch]]:
        """Yield the text in as many parallel streams as a step has rows; their starts differ between epochs.

        The tokens before the first stream (less than a block) and after the last stream (less than one token per
        stream) are skipped in this epoch.
        """
        config, total = self._config, self._text.num_tokens
        length, rng = config.block_length, seeded_generator(self._seed, start.epoch)
        streams = max(1, min(config.batch_tokens // length, total // length))
        shift = int(rng.integers(min(length, total // streams)))
        borders = shift + np.arange(streams + 1) * ((total - shift) // streams)
        stream_length = int(borders[1] - borders[0])
        lengths = (
            random_block_lengths(stream_length, length, rng)
            if config.vary_block_length
            else cut_into_blocks(stream_length, length).lengths
        )
        offsets = np.cumsum(lengths) - lengths
        for number in range(start.step, len(lengths)):
            starts, size = borders[:-1] + offsets[number], int(lengths[number])
            shares = self._split_among_ranks(np.arange(streams), max(length, size))
            plan = self._plan(TextSegments(starts, starts + size, starts == 0))
            done = start.epoch + (number + 1) / len(lengths)
            step = self._step(Position(start.epoch, 0, number), done, shares, plan, continues=number > 0)
            yield replace(step, lr_factor=size / length)  # also for a last, shorter block

    def _plan_lines(self, epoch: int, number: int, blocks: RowRanges) -> _StepPlan:
        """Divide the lines of a chunk into steps, sorted by length or packed."""
        rng, config = seeded_generator(self._seed, epoch, number), self._config
        segments = segments_of_lines(self._text.tgt.offsets, blocks.draw(rng), config.block_length)
        if config.packing:
            return self._plan_packed(segments, rng)
        lengths, limits = segments.lengths, (config.batch_tokens, config.micro_batch_tokens)
        steps = plan_chunk(lengths, lengths, rng, batch_tokens=limits[0], micro_batch_tokens=limits[1])
        return self._plan(
            segments, steps, lambda micro_steps: split_among_ranks(micro_steps, lengths, self._world_size)
        )

    def _plan_packed(self, segments: TextSegments, rng: np.random.Generator) -> _StepPlan:
        """Pack the lines of a chunk into rows in random order, and divide the rows into steps."""
        length = self._config.block_length
        rows = pack_segments(segments.take(rng.permutation(len(segments))), length)
        lengths = np.array([int(row.lengths.sum()) for row in rows])

        def collate(indices: Indices) -> TextBatch:
            packed = [rows[i] for i in indices]
            return collate_packed(self._text.tgt.values, packed, pad_id=self._pad_id, start_id=self._start_id)

        steps = self._divide_into_steps(np.arange(len(rows)), int(lengths.sum()))
        return _StepPlan(lengths, collate, steps, lambda indices: self._split_among_ranks(indices, length))

    def _plan(
        self, segments: TextSegments, steps: Sequence[Any] = (), split: Callable[[Any], RankShares] = list
    ) -> _StepPlan:
        """Create a plan in which each row is one segment."""

        def collate(indices: Indices) -> TextBatch:
            rows = segments.take(indices)
            return collate_segments(self._text.tgt.values, rows, pad_id=self._pad_id, start_id=self._start_id)

        return _StepPlan(segments.lengths, collate, steps, split)

    def _divide_into_steps(self, order: Indices, tokens: int) -> list[Indices]:
        """Divide rows with `tokens` tokens in total into steps with a mean size close to `batch_tokens`."""
        return np.array_split(order, min(len(order), max(1, round(tokens / self._config.batch_tokens))))

    def _split_among_ranks(self, rows: Indices, length: int) -> RankShares:
        """Split the rows of a step among ranks, and into micro-steps; rows have up to `length` ids."""
        # The hidden state that is carried to the next step is split at the same borders: `Accumulator.restore_carry`.
        borders = np.arange(self._world_size + 1) * len(rows) // self._world_size
        parts = [rows[start:stop] for start, stop in pairwise(borders)]
        rows_per_micro_step = max(1, self._config.micro_batch_tokens // length)
        count = math.ceil(max(map(len, parts)) / rows_per_micro_step)
        return [np.array_split(part, count) for part in parts]

    def _step(
        self, position: Position, epoch: float, shares: RankShares, rows: _StepPlan, continues: bool = False
    ) -> TrainingStep[TextBatch]:
        """Collate this rank's part of a step."""

        def collate(part: Indices) -> TextBatch:
            batch = rows.collate(part)
            return batch if self._masking is None else self._masking(batch, position.epoch)

        batches, parts = collate_rank(shares, self._rank, collate), nonempty_micro_steps(shares)
        return TrainingStep(
            position,
            epoch,
            [replace(batch, continues=continues and batch.num_targets > 0) for batch in batches],
            num_tgt_tokens=sum(int(rows.lengths[part].sum()) for part in parts),
            padded_tgt_tokens=sum(len(part) * int(rows.lengths[part].max()) for part in parts),
        )


def collate_segments(values: NDArray[np.integer], segments: TextSegments, *, pad_id: int, start_id: int) -> TextBatch:
    """Collate segments of a text, one per row."""
    rows = [values[start:stop] for start, stop in zip(segments.starts, segments.stops, strict=True)]
    batch = collate_text(rows, segments.starts, pad_id=pad_id, start_id=start_id)
    before = values[np.maximum(segments.starts - 1, 0)].astype(np.int64)
    batch.tgt_in[:, 0] = torch.from_numpy(np.where(segments.starts_document, start_id, before))
    return batch


def ordered_text_batches(
    text: EncodedCorpus, config: TextConfig, micro_batch_tokens: int, tokenizer: Tokenizer
) -> Iterator[TextBatch]:
    """Yield every token once for validation: the blocks of a continuous text in order, or lines sorted by length.

    The batches, and the masked tokens of masked text, are the same in every call and run.
    """
    masking = Masking.from_config(config, tokenizer, seed=0)
    special = {"pad_id": tokenizer.pad_id, "start_id": start_id(config, tokenizer)}
    if config.is_continuous:
        segments = cut_into_blocks(text.num_tokens, config.block_length)
        order = np.arange(len(segments))
    else:
        segments = segments_of_lines(text.tgt.offsets, np.arange(len(text)), config.block_length)
        order = np.argsort(segments.lengths, kind="stable")
    for rows in cut_micro_steps(order, segments.lengths, micro_batch_tokens):
        batch = collate_segments(text.tgt.values, segments.take(rows), **special)
        yield batch if masking is None else masking(batch, epoch=0)
