"""What is found out about recordings: transcripts, their alternatives, and scores of given texts."""

from __future__ import annotations

from dataclasses import dataclass

from seqlab.tasks.transcription.timing import Timed


@dataclass(frozen=True)
class Alternative:
    """One of several transcripts of a recording."""

    text: str
    score: float
    log_prob: float
    """In nats: of all paths that give the text, and with a language model what that adds."""


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording."""

    text: str
    duration: float
    """Seconds; 0 where the recording cannot be read."""
    fault: str = ""
    """Why there is no transcript; empty where there is one, even an empty one."""
    alternatives: list[Alternative] | None = None
    """Best first, where they were asked for."""
    tokens: list[Timed] | None = None
    """Where times were asked for."""
    words: list[Timed] | None = None


@dataclass(frozen=True)
class TranscriptScore:
    """How probable a text is, given a recording."""

    log_prob: float | None
    """In nats, over all paths that give the text: minus infinity for one with more tokens than the model has frames of
    the recording. None where `fault` says why there is none."""
    num_tokens: int
    """Tokens of the text, its end counted."""
    token_log_probs: list[float]
    """In nats, given the tokens before; that of the end last."""
    unknown: list[str]
    """What the vocabulary does not have."""
    fault: str = ""
    """The recording cannot be read, or the vocabulary lacks a token of the text."""


def no_text(*, times: bool, alternatives: bool) -> Transcript:
    """Describe a recording without a text, with what is asked for besides it."""
    return Transcript(
        "",
        0.0,
        alternatives=[] if alternatives else None,
        tokens=[] if times else None,
        words=[] if times else None,
    )
