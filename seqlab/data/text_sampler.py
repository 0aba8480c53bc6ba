"""Encoded text -> training steps, in an order that any position can be found in again.

What a step holds is a pure function of (text, config, seed, position). Of `world_size` samplers with the same arguments
each yields its rank's part of the same steps.

Every row of a batch is a piece of the text: the ids `values[start:stop]` are predicted, each from those before it, and
what is read first is the id before the piece or, where a document begins, `start_id`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import TextBatch, collate_text, idle
from seqlab.data.config import TextConfig
from seqlab.data.encoded_text import EncodedText
from seqlab.data.epoch import epoch_chunks, generator
from seqlab.data.packing import pack, packed_batch
from seqlab.data.pieces import Pieces, blocks_of, pieces_of_lines
from seqlab.data.plan import cut, plan_chunk
from seqlab.data.share import share
from seqlab.data.step import Position, TrainingStep
from seqlab.text import Tokenizer


def start_id(config: TextConfig, tokenizer: Tokenizer) -> int:
    """Return what a text begins with: bos before a line, and in a continuous text the end of the line before it."""
    return tokenizer.bos_id if config.documents == "lines" else tokenizer.eos_id


class TextSampler:
    """Yield training steps for ever, epoch after epoch."""

    def __init__(
        self,
        text: EncodedText,
        config: TextConfig,
        seed: int,
        tokenizer: Tokenizer,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._text, self._config, self._seed = text, config, seed
        self._pad_id, self._start_id = tokenizer.pad_id, start_id(config, tokenizer)
        self._rank, self._world_size = rank, world_size

    def steps(self, after: Position | None = None) -> Iterator[TrainingStep]:
        """Yield the steps that follow a position, from the very first when None is given."""
        epoch, chunk, step = (0, 0, 0) if after is None else (after.epoch, after.chunk, after.step + 1)
        while True:
            yield from self._epoch(epoch, chunk, step)
            epoch, chunk, step = epoch + 1, 0, 0

    def _epoch(self, epoch: int, chunk: int, step: int) -> Iterator[TrainingStep]:
        if self._config.documents == "lines":
            return self._line_steps(epoch, chunk, step)
        return self._stream_steps(epoch, step) if self._config.order == "contiguous" else self._block_steps(epoch, step)

    def _block_steps(self, epoch: int, first: int) -> Iterator[TrainingStep]:
        """Yield blocks in random order; where the first one starts changes with the epoch."""
        rng, length = generator(self._seed, epoch), self._config.block_length
        total = self._text.num_tokens
        shift = int(rng.integers(min(length, total)))
        blocks = blocks_of(total, length, shift)
        order = rng.permutation(len(blocks))
        steps = _divided(order, max(1, self._config.batch_tokens // length))
        for number in range(first, len(steps)):
            done = epoch + (number + 1) / len(steps)
            yield self._step(Position(epoch, 0, number), done, [blocks.take(steps[number])])

    def _stream_steps(self, epoch: int, first: int) -> Iterator[TrainingStep]:
        """Yield the text in as many parallel streams as a step has rows; where they begin changes with the epoch."""
        length, total = self._config.block_length, self._text.num_tokens
        streams = max(1, min(self._config.batch_tokens // length, total // length))
        shift = int(generator(self._seed, epoch).integers(min(length, total // streams)))
        borders = shift + np.arange(streams + 1) * ((total - shift) // streams)
        longest = int(borders[1] - borders[0])
        count = math.ceil(longest / length)
        for number in range(first, count):
            starts = borders[:-1] + number * length
            rows = Pieces(starts, np.minimum(starts + length, borders[1:]), np.zeros(streams, np.bool_) | (starts == 0))
            yield self._step(Position(epoch, 0, number), epoch + (number + 1) / count, [rows], continues=number > 0)

    def _line_steps(self, epoch: int, first_chunk: int, first_step: int) -> Iterator[TrainingStep]:
        """Yield lines in chunks that are shuffled, and sorted by length or packed."""
        config = self._config
        chunks = epoch_chunks(
            self._text.spans, [1.0] * len(self._text.spans), config.chunk_lines, generator(self._seed, epoch)
        )
        for number in range(first_chunk, len(chunks)):
            rng = generator(self._seed, epoch, number)
            lines = chunks[number].draw(rng)
            pieces = pieces_of_lines(self._text.rows.offsets, lines, config.block_length)
            if config.packing:
                yield from self._packed_steps(pieces, rng, (epoch, number, first_step), len(chunks))
            else:
                steps = plan_chunk(
                    pieces.lengths,
                    pieces.lengths,
                    rng,
                    batch_tokens=config.batch_tokens,
                    micro_batch_tokens=config.micro_batch_tokens,
                )
                for step in range(first_step, len(steps)):
                    done = epoch + (number + (step + 1) / len(steps)) / len(chunks)
                    yield self._step(Position(epoch, number, step), done, [pieces.take(rows) for rows in steps[step]])
            first_step = 0

    def _packed_steps(
        self, pieces: Pieces, rng: np.random.Generator, first: tuple[int, int, int], num_chunks: int
    ) -> Iterator[TrainingStep]:
        epoch, number, first_step = first
        rows = pack(pieces.take(rng.permutation(len(pieces))), self._config.block_length)
        per_step = max(1, self._config.batch_tokens // self._config.block_length)
        steps = _divided(np.arange(len(rows)), per_step)
        for step in range(first_step, len(steps)):
            done, chosen = epoch + (number + (step + 1) / len(steps)) / num_chunks, steps[step]
            own, count = self._own_rows(chosen)
            batches = [
                packed_batch(self._text.rows.values, [rows[i] for i in part], self._pad_id, self._start_id)
                if len(part)
                else idle(packed_batch(self._text.rows.values, [rows[chosen[0]]], self._pad_id, self._start_id))
                for part in np.array_split(own, count)
            ]
            tokens = sum(int(rows[i].lengths.sum()) for i in chosen)
            places = len(chosen) * max(int(rows[i].lengths.sum()) for i in chosen)
            yield TrainingStep(Position(epoch, number, step), done, batches, tokens, places)

    def _step(
        self, position: Position, epoch: float, micro_steps: Sequence[Pieces], continues: bool = False
    ) -> TrainingStep:
        """Collate this rank's part of a step; a single part is divided into as many micro-steps as memory asks for."""
        if len(micro_steps) == 1 and self._config.documents == "continuous":
            own, count = self._own_rows(np.arange(len(micro_steps[0])))
            parts = [micro_steps[0].take(part) for part in np.array_split(own, count)]
        else:
            whole = Pieces.joined(micro_steps)
            starts = np.cumsum([0, *map(len, micro_steps)])
            numbered = [np.arange(start, stop) for start, stop in pairwise(starts)]
            parts = [whole.take(rows) for rows in share(numbered, whole.lengths, self._world_size)[self._rank]]
        batches = [
            self._collate(part) if len(part) else idle(self._collate(micro_steps[0].take(np.zeros(1, np.int64))))
            for part in parts
        ]
        return TrainingStep(
            position,
            epoch,
            [replace(batch, continues=continues) for batch in batches],
            num_tgt_tokens=sum(int(each.lengths.sum()) for each in micro_steps),
            padded_tgt_tokens=sum(len(each) * int(each.lengths.max()) for each in micro_steps),
        )

    def _own_rows(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """Return this rank's rows, and how many micro-steps every rank cuts its own into."""
        most = math.ceil(len(rows) / self._world_size)
        count = math.ceil(most / max(1, self._config.micro_batch_tokens // self._config.block_length))
        borders = np.arange(self._world_size + 1) * len(rows) // self._world_size
        return rows[borders[self._rank] : borders[self._rank + 1]], min(count, most)

    def _collate(self, pieces: Pieces) -> TextBatch:
        return text_batch(self._text.rows.values, pieces, pad_id=self._pad_id, start_id=self._start_id)


def text_batch(values: NDArray[np.integer], pieces: Pieces, *, pad_id: int, start_id: int) -> TextBatch:
    """Read pieces of a text into a batch."""
    rows = [values[start:stop] for start, stop in zip(pieces.starts, pieces.stops, strict=True)]
    batch = collate_text(rows, pieces.starts, pad_id=pad_id, start_id=start_id)
    before = values[np.maximum(pieces.starts - 1, 0)].astype(np.int64)
    batch.tgt_in[:, 0] = torch.from_numpy(np.where(pieces.begins, start_id, before))
    return batch


def ordered_text_batches(
    text: EncodedText, config: TextConfig, micro_batch_tokens: int, tokenizer: Tokenizer
) -> Iterator[TextBatch]:
    """Yield every token once, the same in every call: a continuous text in blocks, lines by their length."""
    special = {"pad_id": tokenizer.pad_id, "start_id": start_id(config, tokenizer)}
    if config.documents == "lines":
        pieces = pieces_of_lines(text.rows.offsets, np.arange(len(text)), config.block_length)
        order = np.argsort(pieces.lengths, kind="stable")
    else:
        pieces = blocks_of(text.num_tokens, config.block_length)
        order = np.arange(len(pieces))
    for rows in cut(order, pieces.lengths, micro_batch_tokens):
        yield text_batch(text.rows.values, pieces.take(rows), **special)


def _divided(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Divide rows into steps of nearly `size`."""
    return np.array_split(order, max(1, round(len(order) / size)))
