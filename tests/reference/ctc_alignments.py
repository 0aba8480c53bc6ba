"""Brute-force CTC over all alignments of given frames, as a reference."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, product

import torch
from torch import Tensor

from seqlab.models.ctc import CtcPrefixes, CtcState
from seqlab.models.interfaces import Step
from seqlab.models.outputs import FrameLogProbs, FrameOutput, Glance

BLANK, EOS, VOCAB_SIZE = 0, 1, 4
BOS = BLANK
"""Input id of the first step. It has no effect, because CTC uses no bos token."""


class _IdentityProjection(torch.nn.Identity):
    """Projection of hidden states that are already log-probabilities."""

    def log_probs(self, hidden: Tensor) -> Tensor:
        return hidden


class GivenFrames:
    """A `FrameModel` whose batches are the frames themselves."""

    vocab_size, blank_id, eos_id = VOCAB_SIZE, BLANK, EOS
    prefixes = CtcPrefixes(blank_id=BLANK, bos_id=BOS, eos_id=EOS)

    def __call__(self, batch: FrameLogProbs, glance: Glance | None = None) -> FrameOutput:
        return FrameOutput(batch.log_probs.clone(), _IdentityProjection(), batch.lengths)

    def frames(self, batch: FrameLogProbs) -> FrameLogProbs:
        return self(batch).frames()

    def score_sequences(self, frames: FrameLogProbs, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return self.prefixes.score_sequences(frames, sequences)

    def start(self, batch: FrameLogProbs, need_attention: bool = False) -> tuple[Tensor, CtcState]:
        return self.prefixes.start(batch)

    def step(self, last_ids: Tensor, state: CtcState) -> Step:
        return self.prefixes.step(last_ids, state)


def draw_frames(lengths: Sequence[int], seed: int = 0, spread: float = 1.5) -> FrameLogProbs:
    """Draw random log-probabilities (B, F, V) for sentences of these lengths.

    Sentences of equal length have equal frames. Eos has probability 0. Values after the last frame are NaN.
    """
    log_probs = torch.full((len(lengths), max(lengths), VOCAB_SIZE), math.nan)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(100 * seed + length)
        logits = torch.randn(length, VOCAB_SIZE, generator=generator) * spread
        logits[:, EOS] = -torch.inf
        log_probs[row, :length] = logits.log_softmax(1)
    return FrameLogProbs(log_probs, torch.tensor(lengths))


def all_alignments(num_frames: int, ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield all paths: one id per frame."""
    return product(ids, repeat=num_frames)


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    """Merge repeated ids of a path, then remove blanks."""
    return tuple(index for index, _ in groupby(path) if index != BLANK)


def alignment_log_prob(path: Sequence[int], log_probs: Tensor) -> float:
    return sum(float(log_probs[frame, index]) for frame, index in enumerate(path))


def sequence_probs(frames: FrameLogProbs, row: int) -> dict[tuple[int, ...], float]:
    """Compute the probability of each token sequence for one sentence: the sum over its alignments."""
    log_probs = frames.log_probs[row, : int(frames.lengths[row])].double()
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in all_alignments(len(log_probs), [index for index in range(VOCAB_SIZE) if index != EOS]):
        found[collapse(path)] += math.exp(alignment_log_prob(path, log_probs))
    return dict(found)
