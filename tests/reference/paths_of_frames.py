"""Frames that are given, and what they say by trying all paths: slow, and short enough to be seen to be right."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, product

import torch
from torch import Tensor

from seqlab.models.ctc import CtcPrefixes, CtcState
from seqlab.models.interfaces import FrameLogProbs, FrameOutput, Glance, Step

BLANK, EOS, SIZE = 0, 1, 4
BOS = BLANK
"""Which id the first step reads does not matter: neither is a symbol."""


class _Projected(torch.nn.Identity):
    """Log-probabilities in the place of hidden states."""

    def log_probs(self, hidden: Tensor) -> Tensor:
        return hidden


class GivenFrames:
    """A `FrameModel` whose batches are the frames themselves."""

    vocab_size, blank_id, eos_id = SIZE, BLANK, EOS
    prefixes = CtcPrefixes(blank_id=BLANK, bos_id=BOS, eos_id=EOS)

    def __call__(self, batch: FrameLogProbs, glance: Glance | None = None) -> FrameOutput:
        return FrameOutput(batch.log_probs.clone(), _Projected(), batch.lengths)

    def frames(self, batch: FrameLogProbs) -> FrameLogProbs:
        return self(batch).frames()

    def score_sequences(self, frames: FrameLogProbs, symbols: Sequence[Sequence[int]]) -> list[list[float]]:
        return self.prefixes.score_sequences(frames, symbols)

    def start(self, batch: FrameLogProbs, need_attention: bool = False) -> tuple[Tensor, CtcState]:
        return self.prefixes.start(batch)

    def step(self, last_ids: Tensor, state: CtcState) -> Step:
        return self.prefixes.step(last_ids, state)


def frames_of(lengths: Sequence[int], seed: int = 0, spread: float = 1.5) -> FrameLogProbs:
    """Draw what a model says of some sentences, the same of each length in every batch; eos has no probability.

    What stands behind a sentence's last frame is not a number.
    """
    log_probs = torch.full((len(lengths), max(lengths), SIZE), math.nan)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(100 * seed + length)
        logits = torch.randn(length, SIZE, generator=generator) * spread
        logits[:, EOS] = -torch.inf
        log_probs[row, :length] = logits.log_softmax(1)
    return FrameLogProbs(log_probs, torch.tensor(lengths))


def all_paths(num_frames: int, ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(ids, repeat=num_frames)


def said(path: Sequence[int]) -> tuple[int, ...]:
    return tuple(index for index, _ in groupby(path) if index != BLANK)


def log_prob_of(path: Sequence[int], log_probs: Tensor) -> float:
    return sum(float(log_probs[frame, index]) for frame, index in enumerate(path))


def distribution(frames: FrameLogProbs, row: int) -> dict[tuple[int, ...], float]:
    """Sum the probabilities of all paths of a sentence by what they say."""
    log_probs = frames.log_probs[row, : int(frames.lengths[row])].double()
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in all_paths(len(log_probs), [index for index in range(SIZE) if index != EOS]):
        found[said(path)] += math.exp(log_prob_of(path, log_probs))
    return dict(found)
