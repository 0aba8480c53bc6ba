"""Plot of a transcribed recording: spectrogram, CTC peaks at their times, and words above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqlab.audio.features import LogMel
from seqlab.audio.reading import read_recording
from seqlab.reports.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISPLAY_SAMPLE_RATE = 16000
"""Samples per second."""
INCHES_PER_SECOND, HEIGHT_INCHES = 2.5, 4.0
MIN_WIDTH_INCHES, MAX_WIDTH_INCHES = 5.0, 60.0
PEAK_HEIGHT = 20
"""Height of a peak with confidence 1, in mel bands."""
DYNAMIC_RANGE = 60
"""Range of the drawn energies, in decibels below the maximum."""
TimedText = Mapping[str, Any]
"""`text`, `start`, `end` in seconds and `confidence`, as `seqlab transcribe --json` writes them."""


def draw_recording(
    axes: Axes, frames: Any, seconds: float, tokens: Sequence[TimedText], words: Sequence[TimedText]
) -> None:
    """Draw log-mel frames (F, M) of a recording of `seconds` seconds, with tokens and words at their times."""
    bands = frames.shape[1]
    highest = float(frames.max())
    lowest = highest - DYNAMIC_RANGE / 10 * 2.302585
    axes.imshow(
        frames.T, origin="lower", aspect="auto", cmap="Greys", extent=(0, seconds, 0, bands), vmin=lowest, vmax=highest
    )
    for token in tokens:
        middle = (token["start"] + token["end"]) / 2
        axes.plot([middle, middle], [0, PEAK_HEIGHT * token["confidence"]], color="tab:red", linewidth=1.5)
        axes.text(middle, PEAK_HEIGHT * token["confidence"], token["text"], color="tab:red", ha="center", va="bottom")
    for word in words:
        axes.plot([word["start"], word["end"]], [bands + 2] * 2, color="tab:blue", linewidth=3, clip_on=False)
        middle = (word["start"] + word["end"]) / 2
        axes.text(middle, bands + 4, word["text"], color="tab:blue", ha="center", va="bottom", parse_math=False)
    axes.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds), ylim=(0, bands + 12))


def save_recording(
    path: str | Path,
    audio: str,
    tokens: Sequence[TimedText],
    words: Sequence[TimedText],
    segment: tuple[float, float | None] = (0.0, None),
    channel: str = "",
) -> None:
    """Save the figure of `draw_recording` as PNG or SVG, by the extension of its path.

    `segment`: start and end of the segment to draw, in seconds; an end of None means the end of the recording. Times of
    tokens and words are relative to the start of this segment. `channel`: as in `read_recording`.

    Raises:
        ValueError: the recording cannot be read or is too short, the path has another extension, or matplotlib is not
            installed.
    """
    recording = read_recording(audio, DISPLAY_SAMPLE_RATE, start=segment[0], end=segment[1], channel=channel)
    frames = LogMel(DISPLAY_SAMPLE_RATE)(recording.samples).numpy()
    if not len(frames):
        raise ValueError(f"{audio} is too short to draw ({recording.duration:.3f} s).")
    seconds = recording.duration
    width = min(max(MIN_WIDTH_INCHES, INCHES_PER_SECOND * seconds), MAX_WIDTH_INCHES)
    save_figure(path, (width, HEIGHT_INCHES), lambda axes: draw_recording(axes, frames, seconds, tokens, words))
