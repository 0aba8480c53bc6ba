"""Results of transcription: transcripts with times and alternatives, and scores of given texts."""

from __future__ import annotations

from dataclasses import dataclass

from seqlab.inference.lines import replace_control_characters
from seqlab.tasks.transcription.timing import TimedText


@dataclass(frozen=True)
class Alternative:
    """One of several transcripts of a recording."""

    text: str
    score: float
    log_prob: float
    """Log-probability of the text in nats, summed over all CTC paths, plus the weighted score of a language model."""


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording."""

    text: str
    duration: float
    """Duration of the recording in seconds; 0 if it cannot be read."""
    fault: str = ""
    """Reason why the recording cannot be transcribed; empty if it was transcribed, even as an empty text."""
    alternatives: list[Alternative] | None = None
    """The n-best list, best first; None if only one hypothesis was requested."""
    tokens: list[TimedText] | None = None
    """Times of the tokens; None if times were not requested."""
    words: list[TimedText] | None = None
    """Times of the words; None if times were not requested."""
    warning: str | None = None
    """Reason why the transcript may be wrong; None if none is known."""


@dataclass(frozen=True)
class TranscriptScore:
    """Log-probability of a text given a recording."""

    log_prob: float | None
    """Log-probability in nats, summed over all CTC paths; minus infinity for a text with more tokens than the recording
    has frames. None if there is a `fault`."""
    num_tokens: int
    """Number of tokens of the text, including the end of the sequence."""
    token_log_probs: list[float]
    """Log-probability of each token given the previous ones, in nats; the last one is of the end of the sequence."""
    unknown: list[str]
    """Characters or words of the text that are not in the vocabulary."""
    fault: str = ""
    """Reason why there is no score: the recording cannot be read, or a part of the text is not in the vocabulary."""


def empty_transcript(*, times: bool, alternatives: bool) -> Transcript:
    """Make an empty transcript, with empty lists for times and alternatives if they are requested."""
    return Transcript(
        "",
        0.0,
        alternatives=[] if alternatives else None,
        tokens=[] if times else None,
        words=[] if times else None,
    )


def as_line(text: str) -> str:
    """Replace control characters by spaces, and runs of spaces by one."""
    return " ".join(replace_control_characters(text)[0].split())
