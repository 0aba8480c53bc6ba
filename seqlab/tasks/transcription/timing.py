"""Time stamps of tokens and words, by Viterbi alignment with CTC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.audio.features import LogMel
from seqlab.models.outputs import FrameLogProbs
from seqlab.search.ctc import StateCosts, viterbi_alignments
from seqlab.text import Tokenizer

SILENCE_COST = 30.0
"""Cost in nats of each frame of silence within a word, which is subtracted from the score of an alignment."""

PAUSE_SECONDS = 0.5
"""Minimum silence that separates two words which the model has joined."""


@dataclass(frozen=True)
class TimedText:
    """A token or a word with its time stamps."""

    text: str
    start: float
    """Seconds from the start of the recording."""
    end: float
    confidence: float
    """Geometric mean of the probability of a token over its frames on the most probable CTC path, which may be in
    silence; for a word, the geometric mean over its tokens. CTC is overconfident: compare confidences with each other,
    as they are not calibrated."""


@dataclass(frozen=True)
class FrameTiming:
    """Conversion of the output frames of a model to times."""

    hop: float
    """Seconds between two frames."""
    middle: float
    """Seconds from the start of a recording to the middle of its first frame."""
    frame_step: int
    """Number of feature frames per output frame."""
    blank_id: int
    first_frame: float = 0.0
    """Position of the first output frame among the feature frames, which are numbered from 0."""

    @classmethod
    def of(cls, model: Any, log_mel: LogMel) -> FrameTiming:
        """Return the timing of a `Recognizer` with these features."""
        hop, step = log_mel.hop / log_mel.rate, model.output_step
        return cls(hop * step, log_mel.frame_time(model.first_output), step, model.blank_id, model.first_output)


def time_tokens(
    frames: FrameLogProbs,
    rows: Sequence[Sequence[int]],
    texts: Sequence[Sequence[str]],
    is_sound: Sequence[NDArray[np.bool_]],
    durations: Sequence[float],
    timing: FrameTiming,
) -> list[list[TimedText]]:
    """Compute the time of each token by the most probable CTC path of the transcript (Viterbi alignment).

    A token lasts from its first to its last frame on that path. With CTC these are the few frames in which the model
    outputs the token, fewer than those of its sound. A model with future context can output a word in the silence
    before it. `SILENCE_COST` penalizes silence within words, so that words are aligned to sound without pauses, if
    possible. A pause that the path without this cost has between two sounds of a word is kept: the model has joined
    two words. Confidences are those of the most probable path without this cost, which may output tokens in silence.

    Args:
        frames: log-probabilities of the output frames.
        rows: the ids of each transcript.
        texts: the text of each id, with spaces, from `token_texts`.
        is_sound: for each recording, a mask of the feature frames with sound.
        durations: duration of each recording in seconds, an upper bound of all times.
        timing: times of the frames.
    """
    lengths = torch.tensor([len(row) for row in rows], device=frames.lengths.device)
    targets = torch.zeros(len(rows), max(1, int(lengths.max())), dtype=torch.int64, device=lengths.device)
    for index, row in enumerate(rows):
        targets[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
    _, free_paths = viterbi_alignments(frames, targets, lengths, timing.blank_id)
    frame_costs = torch.zeros(frames.log_probs.shape[:2])
    has_cost = torch.zeros(len(rows), 2 * targets.size(1) + 1, dtype=torch.bool)
    for index, (row_texts, mask, path) in enumerate(zip(texts, is_sound, free_paths.tolist(), strict=True)):
        is_silent = _silent_frames(mask, int(frames.lengths[index]), timing)
        frame_costs[index, : len(is_silent)] = torch.from_numpy(is_silent * SILENCE_COST)
        within = _is_within_word(row_texts)
        for token in _tokens_after_pauses(_token_spans(path, timing.blank_id), is_silent, timing.hop):
            within[2 * token] = False
        has_cost[index, : len(within)] = torch.tensor(within)
    costs = StateCosts(frame_costs.to(frames.log_probs), has_cost.to(lengths.device))
    log_probs, paths = viterbi_alignments(frames, targets, lengths, timing.blank_id, costs)
    free_log_probs = frames.log_probs.gather(2, free_paths[..., None])[..., 0]
    timed: list[list[TimedText]] = []
    for row_texts, path, free_path, scores, total, duration in zip(
        texts, paths.tolist(), free_paths.tolist(), free_log_probs.tolist(), log_probs.tolist(), durations, strict=True
    ):
        timed.append([])
        if math.isfinite(total):
            confidences = [_mean_prob(scores, span) for span in _token_spans(free_path, timing.blank_id)]
            spans = _token_spans(path, timing.blank_id)
            for text, span, confidence in zip(row_texts, spans, confidences, strict=False):
                timed[-1].append(TimedText(text, *_seconds(span, duration, timing), confidence))
    return timed


def _mean_prob(log_probs: Sequence[float], span: tuple[int, int]) -> float:
    """Return the geometric mean of the probabilities from the first to the last frame of a span."""
    first, last = span
    return math.exp(math.fsum(log_probs[first : last + 1]) / (last + 1 - first))


def _seconds(span: tuple[int, int], duration: float, timing: FrameTiming) -> tuple[float, float]:
    """Convert the first and the last frame of a token to its start and end in seconds."""
    first, last = span
    start, end = ((frame - 0.5) * timing.hop + timing.middle for frame in (first, last + 1))
    return max(0.0, min(start, duration)), max(0.0, min(end, duration))


def _silent_frames(is_sound: NDArray[np.bool_], num_frames: int, timing: FrameTiming) -> NDArray[np.bool_]:
    """Return a mask of the output frames without sound, given that of the feature frames with sound."""
    before = math.floor(timing.frame_step / 2 - timing.first_frame)
    size = num_frames * timing.frame_step
    padded = np.pad(is_sound, (before, max(0, size - before - len(is_sound))))[:size]
    return np.asarray(~padded.reshape(num_frames, timing.frame_step).any(1))


def _tokens_after_pauses(spans: Sequence[tuple[int, int]], is_silent: NDArray[np.bool_], hop: float) -> list[int]:
    """Return the indices of the tokens before which a path has a pause, but is in sound on both sides of it."""
    return [
        index
        for index, ((_, end), (start, _)) in enumerate(pairwise(spans), start=1)
        if not is_silent[end] and not is_silent[start] and is_silent[end + 1 : start].sum() * hop >= PAUSE_SECONDS
    ]


def token_texts(tokenizer: Tokenizer, row: Sequence[int]) -> list[str]:
    """Return the text of each token, including the spaces before or after it."""
    texts = [text.replace("▁", " ").replace("<0x20>", " ") for text in tokenizer.tokens(row)]
    if not tokenizer.has_words:
        return texts
    return [text if index == 0 else f" {text}" for index, text in enumerate(texts)]


def _is_within_word(texts: Sequence[str]) -> list[bool]:
    """Return for each state of the CTC path (blank, token, blank, ..., blank) whether it is within a word."""
    within = [False]
    for index, text in enumerate(texts):
        starts_word = text.startswith(" ")
        is_space = not text.strip(" ")
        if index and not is_space and not starts_word:
            previous = texts[index - 1]
            within[-1] = bool(previous.strip(" ")) and not previous.endswith(" ")
        within += [not is_space, False]
    return within


def _token_spans(path: Sequence[int], blank_id: int) -> list[tuple[int, int]]:
    """Return the first and the last frame of each token on a path of ids."""
    spans: list[tuple[int, int]] = []
    previous = blank_id
    for frame, index in enumerate(path):
        if index != blank_id:
            if index == previous:
                spans[-1] = spans[-1][0], frame
            else:
                spans.append((frame, frame))
        previous = index
    return spans


def join_words(tokens: Sequence[TimedText], transcript: str) -> list[TimedText]:
    """Join the tokens between spaces to the words of a transcript."""
    words: list[list[TimedText]] = [[]]
    for token in tokens:
        if token.text.startswith(" "):
            words.append([])
        if token.text.strip(" "):
            words[-1].append(token)
        if token.text.endswith(" "):
            words.append([])
    joined = [_join_tokens(word_tokens) for word_tokens in words if word_tokens]
    texts = transcript.split()  # byte tokens have a text only together, in the complete transcript
    if len(texts) != len(joined):
        return joined
    return [replace(word, text=text) for word, text in zip(joined, texts, strict=True)]


def _join_tokens(tokens: Sequence[TimedText]) -> TimedText:
    """Join the tokens of one word."""
    text = "".join(token.text for token in tokens).strip(" ")
    mean = math.fsum(math.log(max(token.confidence, 1e-30)) for token in tokens) / len(tokens)
    return TimedText(text, tokens[0].start, tokens[-1].end, math.exp(mean))
