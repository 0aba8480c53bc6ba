"""Times of tokens and words, from the likeliest path of CTC through the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.models.interfaces import FrameLogProbs
from seqlab.search.ctc import viterbi_alignments
from seqlab.text import Tokenizer

IN_SILENCE = 30.0
"""What a frame of silence within a word costs a path, in nats."""


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


@dataclass(frozen=True)
class Timing:
    """The times of a model's outputs."""

    hop: float
    """Seconds between two frames."""
    middle: float
    """Seconds from the beginning of a recording to the middle of its first frame."""
    frame_step: int
    """Frames of the features from one frame of the model to the next."""
    blank_id: int
    first_frame: float = 0.0
    """Where the first frame of the model is among those of the features, whose first is 0."""


def time_tokens(
    frames: FrameLogProbs,
    rows: Sequence[Sequence[int]],
    names: Sequence[Sequence[str]],
    sounds: Sequence[NDArray[np.bool_]],
    durations: Sequence[float],
    timing: Timing,
) -> list[list[Timed]]:
    """Find the time of each token by the likeliest path that gives the transcript (Viterbi).

    A token lasts from its first frame to its last on that path, which for CTC are few: it is where the model has
    recognised it, not where its sound begins and ends. A model that reads ahead may recognise a word in the silence
    before it. Silence within a word costs `IN_SILENCE`, so that each word is where there is sound, and no pause divides
    it, as far as that is possible.

    Args:
        frames: log-probabilities.
        rows: the ids of each transcript.
        names: the same as text, with spaces (`token_texts`).
        sounds: for each recording, which frames of its features hold sound.
        durations: seconds of each recording, which no time exceeds.
        timing: how frames lie in time.
    """
    lengths = torch.tensor([len(row) for row in rows], device=frames.lengths.device)
    targets = torch.zeros(len(rows), max(1, int(lengths.max())), dtype=torch.int64, device=lengths.device)
    costs = torch.zeros(*frames.log_probs.shape[:2], 2 * targets.size(1) + 1)
    for place, (row, texts, sound) in enumerate(zip(rows, names, sounds, strict=True)):
        targets[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
        silent = _silent_frames(sound, int(frames.lengths[place]), timing)
        within = np.flatnonzero(_within_words(texts))
        costs[place, silent[:, None], within] = IN_SILENCE
    log_probs, paths = viterbi_alignments(frames, targets, lengths, timing.blank_id, costs.to(frames.log_probs))
    of_path = frames.log_probs.gather(2, paths[..., None])[..., 0]
    found = []
    for row, texts, path, scores, total, duration in zip(
        rows, names, paths.tolist(), of_path.tolist(), log_probs.tolist(), durations, strict=True
    ):
        spans = _spans(path, timing.blank_id) if row and math.isfinite(total) else []
        found.append([_timed(each, span, scores, duration, timing) for each, span in zip(texts, spans, strict=False)])
    return found


def _timed(text: str, span: tuple[int, int], scores: Sequence[float], duration: float, timing: Timing) -> Timed:
    first, last = span
    start, end = ((frame - 0.5) * timing.hop + timing.middle for frame in (first, last + 1))
    mean = math.fsum(scores[first : last + 1]) / (last + 1 - first)
    return Timed(text, max(0.0, min(start, duration)), max(0.0, min(end, duration)), math.exp(mean))


def _silent_frames(sound: NDArray[np.bool_], num_frames: int, timing: Timing) -> NDArray[np.int64]:
    """Find the frames of the model without sound, of so many, given which frames of the features hold sound."""
    before = math.floor(timing.frame_step / 2 - timing.first_frame)
    size = num_frames * timing.frame_step
    padded = np.pad(sound, (before, max(0, size - before - len(sound))))[:size]
    return np.flatnonzero(~padded.reshape(num_frames, timing.frame_step).any(1))


def token_texts(tokenizer: Tokenizer, row: Sequence[int]) -> list[str]:
    """Return the text of each token, with the spaces before or after it that it stands for."""
    texts = [text.replace("▁", " ").replace("<0x20>", " ") for text in tokenizer.tokens(row)]
    return [text if place == 0 else f" {text}" for place, text in enumerate(texts)] if tokenizer.has_words else texts


def _within_words(texts: Sequence[str]) -> list[bool]:
    """Tell of blanks and tokens in turn, from the first blank to the last, which are within a word."""
    within = [False]
    for place, text in enumerate(texts):
        begins = text.startswith(" ")
        is_space = not text.strip(" ")
        if place and not is_space and not begins:
            previous = texts[place - 1]
            within[-1] = bool(previous.strip(" ")) and not previous.endswith(" ")
        within += [not is_space, False]
    return within


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


def words_of(tokens: Sequence[Timed], transcript: str) -> list[Timed]:
    """Join tokens between spaces to the words of a transcript."""
    words: list[list[Timed]] = [[]]
    for token in tokens:
        if token.text.startswith(" "):
            words.append([])
        if token.text.strip(" "):
            words[-1].append(token)
        if token.text.endswith(" "):
            words.append([])
    found = [_joined(each) for each in words if each]
    texts = transcript.split()  # tokens that are parts of a letter have no text of their own
    return (
        [replace(word, text=text) for word, text in zip(found, texts, strict=True)]
        if len(texts) == len(found)
        else found
    )


def _joined(tokens: Sequence[Timed]) -> Timed:
    text = "".join(token.text for token in tokens).strip(" ")
    mean = math.fsum(math.log(max(token.confidence, 1e-30)) for token in tokens) / len(tokens)
    return Timed(text, tokens[0].start, tokens[-1].end, math.exp(mean))
