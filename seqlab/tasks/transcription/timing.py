"""Times of tokens and words, from the likeliest path of CTC through the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from seqlab.models.interfaces import Frames
from seqlab.search.ctc import alignments


@dataclass(frozen=True)
class Timed:
    """A token or a word, and where it is."""

    text: str
    start: float
    """Seconds from the beginning of the recording."""
    end: float
    confidence: float
    """From 0 to 1: of a token the geometric mean of its probability in its frames, of a word that of its tokens. CTC
    tends to be sure of itself: compare such numbers with each other, not with frequencies."""


def time_tokens(
    frames: Frames,
    rows: Sequence[Sequence[int]],
    names: Sequence[Sequence[str]],
    blank_id: int,
    *,
    hop: float,
    middle: float,
    durations: Sequence[float],
) -> list[list[Timed]]:
    """Find the time of each token by the likeliest path that gives the transcript (Viterbi).

    A token lasts from its first frame to its last on that path, which for CTC are few: it is where the model has
    recognised it, not where its sound begins and ends.

    Args:
        frames: log-probabilities.
        rows: the ids of each transcript.
        names: the same as text.
        blank_id: the id of the blank.
        hop: seconds between two frames.
        middle: seconds from the beginning of the recording to the middle of the first frame.
        durations: seconds of each recording, which no time exceeds.
    """
    lengths = torch.tensor([len(row) for row in rows], device=frames.lengths.device)
    targets = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64, device=lengths.device)
    for place, row in enumerate(rows):
        targets[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
    log_probs, paths = alignments(frames, targets, lengths, blank_id)
    of_path = frames.log_probs.gather(2, paths[..., None])[..., 0]
    found = []
    for row, texts, path, scores, total, duration in zip(
        rows, names, paths.tolist(), of_path.tolist(), log_probs.tolist(), durations, strict=True
    ):
        spans = _spans(path, blank_id) if row and math.isfinite(total) else []
        timed = []
        for text, (first, last) in zip(texts, spans, strict=False):
            start, end = ((place - 0.5) * hop + middle for place in (first, last + 1))
            mean = math.fsum(scores[first : last + 1]) / (last + 1 - first)
            timed.append(Timed(text, max(0.0, min(start, duration)), max(0.0, min(end, duration)), math.exp(mean)))
        found.append(timed)
    return found


def _spans(path: Sequence[int], blank_id: int) -> list[tuple[int, int]]:
    """Give the first and the last frame of each token on a path."""
    spans: list[tuple[int, int]] = []
    before = blank_id
    for frame, index in enumerate(path):
        if index != blank_id:
            if index == before:
                spans[-1] = spans[-1][0], frame
            else:
                spans.append((frame, frame))
        before = index
    return spans


def words_of(tokens: Sequence[Timed]) -> list[Timed]:
    """Join tokens between spaces to words; a space within a token ends a word, too."""
    words: list[list[Timed]] = [[]]
    for token in tokens:
        if token.text.startswith((" ", "▁")) or token.text.isspace():
            words.append([])
        if token.text.strip(" ▁"):
            words[-1].append(token)
        if token.text.endswith(" "):
            words.append([])
    return [_joined(each) for each in words if each]


def _joined(tokens: Sequence[Timed]) -> Timed:
    text = "".join(token.text for token in tokens).strip(" ▁")
    mean = math.fsum(math.log(max(token.confidence, 1e-30)) for token in tokens) / len(tokens)
    return Timed(text, tokens[0].start, tokens[-1].end, math.exp(mean))
