"""Training steps of recordings: feature frames, with augmentation as a pure function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqlab.audio.augmentation import Augmentation
from seqlab.audio.codec import RecordingCodec
from seqlab.audio.waveform import to_float
from seqlab.data.batch import Batch
from seqlab.data.epoch import seeded_generator
from seqlab.data.plan import Indices, cut_micro_steps, length_order, plan_chunk
from seqlab.data.prefetch import use_one_torch_thread
from seqlab.data.recordings import Recordings
from seqlab.data.recordings_config import RecordingsConfig
from seqlab.data.step import Position, TrainingStep, collate_rank, next_position, split_among_ranks

BatchT = TypeVar("BatchT", bound=Batch)
AUGMENTATION_STREAM = 2
"""Last component of the seeds for augmentation."""


@dataclass(frozen=True)
class RecordingSteps(Generic[BatchT]):
    """Sampler of training steps; the recordings of a micro-step have similar lengths."""

    recordings: Recordings
    codec: RecordingCodec
    config: RecordingsConfig
    seed: int
    collate: Callable[[Sequence[Tensor], Indices, int], BatchT]
    """Function that makes a batch from (frames (F, M) of each recording, indices of the recordings, epoch)."""
    replacement: Callable[[int, int, np.random.Generator], NDArray[np.float32] | None] | None = None
    """Function that returns a replacement of a recording, or None, from (index, epoch, random generator)."""

    @cached_property
    def augmentation(self) -> Augmentation:
        """Augmentation of training recordings."""
        return self.config.augmentation

    def frame_counts(self, indices: Indices) -> Indices:
        """Count the frames of each recording of `indices` (n,)."""
        counts = (self.codec.num_frames(self.recordings.examples[i].length) for i in indices.tolist())
        return np.fromiter(counts, np.int64, len(indices))

    def steps(
        self, indices: Indices, rank: int, world_size: int, after: Position | None = None
    ) -> Iterator[TrainingStep[BatchT]]:
        """Yield this rank's part of the steps after a position (None: of all steps), epoch after epoch, without end."""
        start, counts = next_position(after), self.frame_counts(indices)
        per_second = 1000 / self.config.hop_ms
        with ThreadPoolExecutor(self.config.workers, initializer=use_one_torch_thread) as threads:
            while True:
                steps = plan_chunk(
                    counts,
                    counts,
                    seeded_generator(self.seed, start.epoch),
                    batch_tokens=round(self.config.batch_seconds * per_second),
                    micro_batch_tokens=round(self.config.micro_batch_seconds * per_second),
                )
                for number in range(start.step, len(steps)):
                    micro_steps = steps[number]
                    shares = split_among_ranks(micro_steps, counts, world_size)

                    def collate(rows: Indices, epoch: int = start.epoch) -> BatchT:
                        picked = indices[rows]
                        frames = list(threads.map(lambda index: self._augmented_frames(index, epoch), picked.tolist()))
                        return self.collate(frames, picked, epoch)

                    yield TrainingStep(
                        Position(start.epoch, 0, number),
                        start.epoch + (number + 1) / len(steps),
                        collate_rank(shares, rank, collate),
                        num_src_tokens=sum(int(counts[rows].sum()) for rows in micro_steps),
                        padded_src_tokens=sum(len(rows) * int(counts[rows].max()) for rows in micro_steps),
                    )
                start = Position(start.epoch + 1, 0, 0)

    def batches(self, indices: Indices) -> Iterator[tuple[Indices, BatchT]]:
        """Yield each recording once without augmentation, in batches of similar length; for validation."""
        counts = self.frame_counts(indices)
        budget = round(self.config.micro_batch_seconds * 1000 / self.config.hop_ms)
        for rows in cut_micro_steps(length_order(counts, counts, seeded_generator(0), nudged_share=0), counts, budget):
            frames = [self.codec.frames(self.recordings.waveform(index)) for index in indices[rows].tolist()]
            yield rows, self.collate(frames, indices[rows], -1)

    def _augmented_frames(self, index: int, epoch: int) -> Tensor:
        """Compute the augmented frames (F, M) of a recording in an epoch."""
        augmentation, rng = self.augmentation, seeded_generator(self.seed, epoch, index, AUGMENTATION_STREAM)
        waveform = self.recordings.waveform(index)
        replaced = None if self.replacement is None else self.replacement(index, epoch, rng)
        if replaced is None and augmentation.is_off:
            return self.codec.frames(waveform)
        samples = to_float(waveform) if replaced is None else replaced
        changed = augmentation.change_waveform(samples, self.recordings.sample_rate, rng)
        frames = self.codec.frames(changed)
        # Normalized bands have a mean of 0.
        fill = float(frames.mean()) if self.config.normalise == "none" and len(frames) else 0.0
        return augmentation.mask_features(frames, rng, fill)
