"""Detection of recordings that are silent, or whose answers may be wrong: clipped, too quiet, noisy, or stereo."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.waveform import FULL_SCALE
from seqlab.base.reading_notes import FIRST_READING_VERSION, READING_VERSION

SILENCE_DB = -60.0
"""Level in dB of full scale; a recording with a lower peak is left out in training, where it would teach a text
that nobody hears, and has a warning at inference."""
MIN_PEAK_DB = -72.0
"""Level in dB of full scale; a recording with a lower peak (8 steps of 16 bits) has no answer. It is lower than
`SILENCE_DB`, because most answers in between are right."""
MAX_CLIPPED_SHARE = 0.01
"""Maximum share of clipped samples of a recording without a warning."""
MIN_PEAK_SHARE = 0.02
"""Share of the samples at the peak from which they count as clipped below full scale. In speech it is below 0.01."""
MIN_CORRELATION = 0.7
"""Minimum correlation of the channels whose mean is read without a warning. Stereo recordings of speech have more."""
MAX_FEW_VALUES = 24
"""Number of different sample values up to which a recording is too quiet for its sample format: rounding to so few
values is a noise that is as loud as consonants."""
CHUNK_SAMPLES = 4096
"""Number of samples in which values are counted at a time: most recordings have enough of them in the first chunk."""
MIN_BACKGROUND_SECONDS = 0.25
"""Minimum duration of a steady background before or after the sound."""
FRAME_SECONDS = 0.01
LABEL_BACKGROUND_DB, SPEECH_BACKGROUND_DB = -30.0, -15.0
"""Maximum level of a steady background without a warning, in dB relative to the sound, for labels and for transcripts.
A recognizer of digits had more than half of the words wrong above the second one."""
TRAINING_SHARE = 0.99
"""Share of the training recordings that have no warning of their background."""
MAX_BACKGROUND_DB = -6.0
"""Level relative to the sound from which a steady start or end is a part of the sound."""
MAX_DEVIATION_DB = 2.0
"""Maximum standard deviation of the frame levels of a steady background."""


class ValueCounter:
    """Count the different values of consecutive blocks of samples, up to one more than `MAX_FEW_VALUES`."""

    def __init__(self) -> None:
        self._values: NDArray[np.generic] = np.zeros(0)

    def add(self, block: NDArray[np.generic]) -> None:
        """Count the values of the next samples (n,)."""
        for first in range(0, len(block), CHUNK_SAMPLES):
            if self.count > MAX_FEW_VALUES:
                return
            values = np.unique(block[first : first + CHUNK_SAMPLES])
            self._values = np.union1d(self._values, values)[: MAX_FEW_VALUES + 1]

    @property
    def count(self) -> int:
        """Number of different values, at most `MAX_FEW_VALUES` + 1."""
        return len(self._values)


class PeakCounter:
    """Count the samples at the peak of consecutive blocks of samples, in runs of at least two, of each sign.

    They are those that were clipped, perhaps before the level was changed.
    """

    def __init__(self) -> None:
        self._peaks, self._counts, self._size = [-math.inf, -math.inf], [0, 0], 0

    def add(self, block: NDArray[np.generic]) -> None:
        """Count the next samples (n,)."""
        self._size += len(block)
        if not len(block):
            return
        for sign, extreme in enumerate((block.max(), block.min())):
            peak = -float(extreme) if sign else float(extreme)
            if peak > self._peaks[sign]:
                self._peaks[sign], self._counts[sign] = peak, 0
            if peak == self._peaks[sign]:
                at_peak = np.concatenate([[False], block == extreme, [False]])
                self._counts[sign] += int((at_peak[1:-1] & (at_peak[:-2] | at_peak[2:])).sum())

    def share(self) -> float:
        """Return the share of samples at the peak; 0 below `MIN_PEAK_SHARE`, and for equal samples."""
        share = sum(self._counts) / max(1, self._size)
        return share if share >= MIN_PEAK_SHARE and self._peaks[0] > -self._peaks[1] else 0.0


def share_at_peak(samples: NDArray[np.generic]) -> float:
    """Return the share of samples (n,) at the peak, as `PeakCounter` does."""
    counter = PeakCounter()
    counter.add(samples)
    return counter.share()


def quality_warning(
    samples: NDArray[np.int16],
    rate: int,
    num_values: int,
    clipped: float,
    correlation: float,
    max_background_db: float,
) -> str:
    """Return why the answer for a recording may be wrong, as the predicate of a sentence; "" if no reason is known.

    Args:
        samples: (n,) samples at `rate`.
        rate: sampling rate in Hz.
        num_values: number of different values of the samples of the file, as `ValueCounter` counts them.
        clipped: share of clipped samples, at full scale or at the peak.
        correlation: correlation of the channels whose mean is read, or 1.
        max_background_db: maximum level of a steady background, in dB relative to the sound.
    """
    reasons = [f"{clipped:.0%} of its samples are clipped"] if clipped > MAX_CLIPPED_SHARE else []
    if min(num_values, count_values(samples)) <= MAX_FEW_VALUES and np.ptp(samples):
        reasons.append(f"it is too quiet for its sample format: it has only {num_values} different sample values")
    elif (peak := peak_db(samples)) < SILENCE_DB and np.ptp(samples):
        reasons.append(f"it is very quiet: its peak is {peak:.0f} dB of full scale")
    if correlation < MIN_CORRELATION:
        reasons.append(
            f"its channels differ (their correlation is {correlation:.2f}): name one by `--channel 1`, or confirm the "
            "mean of all by `--channel mean`"
        )
    background = background_db(samples, rate)
    if background is not None and max_background_db < background < MAX_BACKGROUND_DB:
        reasons.append(f"its background is loud: {-background:.0f} dB below its sound")
    return "; ".join(reasons)


def usual_background_db(waveforms: Iterable[NDArray[np.int16]], rate: int) -> float | None:
    """Return the level of a steady background, relative to the sound, that few training recordings exceed.

    It is None if fewer recordings have a steady background beside a louder sound.
    """
    levels = [background_db(waveform, rate) for waveform in waveforms]
    below = sorted(-math.inf if level is None or level >= MAX_BACKGROUND_DB else level for level in levels)
    usual = below[math.ceil(TRAINING_SHARE * len(below)) - 1] if below else -math.inf
    return usual if math.isfinite(usual) else None


def count_values(samples: NDArray[np.generic]) -> int:
    """Count the different values of samples (n,), up to one more than `MAX_FEW_VALUES`."""
    counter = ValueCounter()
    counter.add(samples)
    return counter.count


def peak_db(samples: NDArray[np.int16]) -> float:
    """Return the peak of samples (n,) in dB of full scale, apart from a constant offset (their median)."""
    if not len(samples):
        return -math.inf
    offset = float(np.median(samples))
    return _decibels(max(float(samples.max()) - offset, offset - float(samples.min())))


def has_sound(samples: NDArray[np.int16], reading: int = READING_VERSION) -> bool:
    """Return whether samples (n,) have an answer; version 1 of the reading excludes only digital silence."""
    return bool(np.any(samples)) if reading == FIRST_READING_VERSION else peak_db(samples) >= MIN_PEAK_DB


def background_db(samples: NDArray[np.int16], rate: int) -> float | None:
    """Return the level of a steady background before or after a sound, in dB relative to the sound; None without one.

    Of two backgrounds it is the louder one. The sound is as loud as 50 ms of it.
    """
    size = round(rate * FRAME_SECONDS)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float32)
    shortest, loud = round(MIN_BACKGROUND_SECONDS / FRAME_SECONDS), round(0.05 / FRAME_SECONDS)
    if len(frames) <= shortest:
        return None
    power = frames.var(1)
    if not (level := np.partition(power, -loud)[-loud]):
        return None
    levels = 10 * np.log10(np.maximum(power / level, 1e-8))
    ends = [end for end in (levels[:shortest], levels[-shortest:]) if end.std() <= MAX_DEVIATION_DB]
    return max((float(np.median(end)) for end in ends), default=None)


def _decibels(value: float) -> float:
    """Convert a 16-bit amplitude to dB of full scale."""
    return 20 * math.log10(value / FULL_SCALE) if value > 0 else -math.inf
