"""Reference CTC that tries all alignments of given frames: slow, but obviously correct."""

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
"""Input ids of the first step have no effect: neither is a token."""


class _Projected(torch.nn.Identity):
    """Projection of hidden states that are already log-probabilities."""

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
    """Draw random frames of some sentences, equal for equal lengths; eos has probability 0.

    Values after a sentence's last frame are NaN.
    """
    log_probs = torch.full((len(lengths), max(lengths), SIZE), math.nan)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(100 * seed + length)
        logits = torch.randn(length, SIZE, generator=generator) * spread
        logits[:, EOS] = -torch.inf
        log_probs[row, :length] = logits.log_softmax(1)
    return FrameLogProbs(log_probs, torch.tensor(lengths))


def all_alignments(num_frames: int, ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(ids, repeat=num_frames)


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    return tuple(index for index, _ in groupby(path) if index != BLANK)


def alignment_log_prob(path: Sequence[int], log_probs: Tensor) -> float:
    return sum(float(log_probs[frame, index]) for frame, index in enumerate(path))


def distribution(frames: FrameLogProbs, row: int) -> dict[tuple[int, ...], float]:
    """Sum the probabilities of all alignments of a sentence for each sequence of tokens."""
    log_probs = frames.log_probs[row, : int(frames.lengths[row])].double()
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in all_alignments(len(log_probs), [index for index in range(SIZE) if index != EOS]):
        found[collapse(path)] += math.exp(alignment_log_prob(path, log_probs))
    return dict(found)
