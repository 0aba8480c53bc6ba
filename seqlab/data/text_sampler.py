"""Encoded text -> training steps, in an order that any position can be found in again.

What a step holds is a pure function of (text, config, seed, position). Of `world_size` samplers with the same arguments
each yields its rank's part of the same steps.

Every row of a batch is a piece of the text: the ids `values[start:stop]` are predicted, each from those before it, and
what is read first is the id before the piece or, where a document begins, `start_id`. Of masked text the piece itself
is read, with some of its ids hidden, and only these are predicted.
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
    """Return what a text begins with: bos before a line, and in a continuous text the end of the line before it."""
    return tokenizer.eos_id if config.is_continuous else tokenizer.bos_id


RankShares = list[list[Indices]]
"""Of each rank, the rows of its micro-steps: equally many micro-steps for all, the last ones perhaps without a row."""


@dataclass(frozen=True)
class _StepPlan:
    """Rows, and how they are cut into steps."""

    lengths: Indices  # (rows,): ids predicted in each
    collate: Callable[[Indices], TextBatch]
    steps: Sequence[Any]
    deal: Callable[[Any], RankShares]
    """Gives the parts of the ranks of a step."""


class TextSampler:
    """Yield training steps for ever, epoch after epoch."""

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
        """Yield the steps that follow a position, from the very first when None is given."""
        first = next_position(after)
        while True:
            yield from self._epoch(first)
            first = Position(first.epoch + 1, 0, 0)

    def _epoch(self, first: Position) -> Iterator[TrainingStep[TextBatch]]:
        if self._config.order == "contiguous":
            yield from self._stream_steps(first)
            return
        rng, spans = seeded_generator(self._seed, first.epoch), self._text.spans
        if self._config.is_continuous:
            planned = planned_steps([rng], first, lambda _, rng: self._plan_blocks(rng))
        else:
            chunks = epoch_chunks(spans, [1.0] * len(spans), self._config.chunk_lines, rng)
            planned = planned_steps(chunks, first, partial(self._plan_lines, first.epoch))
        for plan, position, done in planned:
            yield self._step(position, done, plan.deal(plan.steps[position.step]), plan)

    def _plan_blocks(self, rng: np.random.Generator) -> _StepPlan:
        """Put blocks into random order; where the first one starts changes with the epoch."""
        length, total = self._config.block_length, self._text.num_tokens
        shift = int(rng.integers(min(length, total)))
        blocks = cut_into_blocks(total, length, shift)
        steps = self._divided(rng.permutation(len(blocks)), total)
        return self._plan(blocks, steps, lambda rows: self._dealt(rows, length))

    def _stream_steps(self, first: Position) -> Iterator[TrainingStep[TextBatch]]:
        """Yield the text in as many parallel streams as a step has rows; where they begin changes with the epoch.

        What is left before the first stream and behind the last one, less than a block and a token for each stream, is
        not read in this epoch.
        """
        config, total = self._config, self._text.num_tokens
        length, rng = config.block_length, seeded_generator(self._seed, first.epoch)
        streams = max(1, min(config.batch_tokens // length, total // length))
        shift = int(rng.integers(min(length, total // streams)))
        borders = shift + np.arange(streams + 1) * ((total - shift) // streams)
        stream = int(borders[1] - borders[0])
        lengths = (
            random_block_lengths(stream, length, rng)
            if config.vary_block_length
            else cut_into_blocks(stream, length).lengths
        )
        offsets = np.cumsum(lengths) - lengths
        for number in range(first.step, len(lengths)):
            starts, stretch = borders[:-1] + offsets[number], int(lengths[number])
            shares = self._dealt(np.arange(streams), max(length, stretch))
            plan = self._plan(TextSegments(starts, starts + stretch, starts == 0))
            done = first.epoch + (number + 1) / len(lengths)
            step = self._step(Position(first.epoch, 0, number), done, shares, plan, continues=number > 0)
            yield replace(step, lr_factor=stretch / length)  # also where the streams end within a block

    def _plan_lines(self, epoch: int, number: int, blocks: RowRanges) -> _StepPlan:
        """Shuffle the lines of a chunk, and sort them by length or pack them."""
        rng, config = seeded_generator(self._seed, epoch, number), self._config
        pieces = segments_of_lines(self._text.tgt.offsets, blocks.draw(rng), config.block_length)
        if config.packing:
            return self._packed(pieces, rng)
        lengths, limits = pieces.lengths, (config.batch_tokens, config.micro_batch_tokens)
        steps = plan_chunk(lengths, lengths, rng, batch_tokens=limits[0], micro_batch_tokens=limits[1])
        return self._plan(pieces, steps, lambda micro_steps: split_among_ranks(micro_steps, lengths, self._world_size))

    def _packed(self, pieces: TextSegments, rng: np.random.Generator) -> _StepPlan:
        """Pack the lines of a chunk in random order."""
        length = self._config.block_length
        rows = pack_segments(pieces.take(rng.permutation(len(pieces))), length)
        lengths = np.array([int(row.lengths.sum()) for row in rows])

        def collate(chosen: Indices) -> TextBatch:
            packed = [rows[i] for i in chosen]
            return collate_packed(self._text.tgt.values, packed, pad_id=self._pad_id, start_id=self._start_id)

        steps = self._divided(np.arange(len(rows)), int(lengths.sum()))
        return _StepPlan(lengths, collate, steps, lambda chosen: self._dealt(chosen, length))

    def _plan(
        self, pieces: TextSegments, steps: Sequence[Any] = (), deal: Callable[[Any], RankShares] = list
    ) -> _StepPlan:
        """Let each piece be a row."""

        def collate(chosen: Indices) -> TextBatch:
            rows = pieces.take(chosen)
            return text_batch(self._text.tgt.values, rows, pad_id=self._pad_id, start_id=self._start_id)

        return _StepPlan(pieces.lengths, collate, steps, deal)

    def _divided(self, order: Indices, tokens: int) -> list[Indices]:
        """Divide rows that hold so many tokens into as many steps as bring their mean closest to `batch_tokens`."""
        return np.array_split(order, min(len(order), max(1, round(tokens / self._config.batch_tokens))))

    def _dealt(self, rows: Indices, length: int) -> RankShares:
        """Deal the rows of a step, up to `length` ids each, to the ranks, and cut what each gets into micro-steps."""
        # A carried state is divided among the ranks at the same borders, see `Accumulator.restore_carry`.
        borders = np.arange(self._world_size + 1) * len(rows) // self._world_size
        parts = [rows[start:stop] for start, stop in pairwise(borders)]
        at_once = max(1, self._config.micro_batch_tokens // length)
        count = math.ceil(max(map(len, parts)) / at_once)
        return [np.array_split(part, count) for part in parts]

    def _step(
        self, position: Position, epoch: float, shares: RankShares, rows: _StepPlan, continues: bool = False
    ) -> TrainingStep[TextBatch]:
        """Collate this rank's part of a step."""

        def collate(part: Indices) -> TextBatch:
            batch = rows.collate(part)
            return batch if self._masking is None else self._masking(batch, position.epoch)

        own, parts = collate_rank(shares, self._rank, collate), nonempty_micro_steps(shares)
        return TrainingStep(
            position,
            epoch,
            [replace(batch, continues=continues and batch.num_targets > 0) for batch in own],
            num_tgt_tokens=sum(int(rows.lengths[part].sum()) for part in parts),
            padded_tgt_tokens=sum(len(part) * int(rows.lengths[part].max()) for part in parts),
        )


def text_batch(values: NDArray[np.integer], pieces: TextSegments, *, pad_id: int, start_id: int) -> TextBatch:
    """Read pieces of a text into a batch."""
    rows = [values[start:stop] for start, stop in zip(pieces.starts, pieces.stops, strict=True)]
    batch = collate_text(rows, pieces.starts, pad_id=pad_id, start_id=start_id)
    before = values[np.maximum(pieces.starts - 1, 0)].astype(np.int64)
    batch.tgt_in[:, 0] = torch.from_numpy(np.where(pieces.begins, start_id, before))
    return batch


def ordered_text_batches(
    text: EncodedCorpus, config: TextConfig, micro_batch_tokens: int, tokenizer: Tokenizer
) -> Iterator[TextBatch]:
    """Yield every token once, the same in every call: a continuous text in blocks, lines by their length.

    Of masked text the same tokens are hidden in every call and every run, so that validations can be compared.
    """
    masking = Masking.from_config(config, tokenizer, seed=0)
    special = {"pad_id": tokenizer.pad_id, "start_id": start_id(config, tokenizer)}
    if config.is_continuous:
        pieces = cut_into_blocks(text.num_tokens, config.block_length)
        order = np.arange(len(pieces))
    else:
        pieces = segments_of_lines(text.tgt.offsets, np.arange(len(text)), config.block_length)
        order = np.argsort(pieces.lengths, kind="stable")
    for rows in cut_micro_steps(order, pieces.lengths, micro_batch_tokens):
        batch = text_batch(text.tgt.values, pieces.take(rows), **special)
        yield batch if masking is None else masking(batch, epoch=0)
