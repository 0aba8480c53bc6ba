"""Detection of recordings whose answers may be wrong: clipped, too quiet for their sample format, or noisy."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MAX_CLIPPED_SHARE = 0.01
"""Maximum share of clipped samples of a recording without a warning."""
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


def quality_warning(
    samples: NDArray[np.int16], rate: int, num_values: int, clipped: float, max_background_db: float
) -> str:
    """Return why the answer for a recording may be wrong, as the predicate of a sentence; "" if no reason is known.

    Args:
        samples: (n,) samples at `rate`.
        rate: sampling rate in Hz.
        num_values: number of different values of the samples of the file, as `ValueCounter` counts them.
        clipped: share of clipped samples.
        max_background_db: maximum level of a steady background, in dB relative to the sound.
    """
    reasons = [f"{clipped:.0%} of its samples are clipped"] if clipped > MAX_CLIPPED_SHARE else []
    if min(num_values, count_values(samples)) <= MAX_FEW_VALUES and np.ptp(samples):
        reasons.append(f"it is too quiet for its sample format: it has only {num_values} different sample values")
    background = background_db(samples, rate)
    if background is not None and max_background_db < background < MAX_BACKGROUND_DB:
        reasons.append(f"its background is loud: {-background:.0f} dB below its sound")
    return "; ".join(reasons)


def usual_background_db(waveforms: Iterable[NDArray[np.int16]], rate: int) -> float | None:
    """Return the level of a steady background, relative to the sound, that few training recordings exceed.

    It is None if fewer recordings have a steady background beside a louder sound.
    """
    levels = [background_db(each, rate) for each in waveforms]
    below = sorted(-math.inf if level is None or level >= MAX_BACKGROUND_DB else level for level in levels)
    usual = below[math.ceil(TRAINING_SHARE * len(below)) - 1] if below else -math.inf
    return usual if math.isfinite(usual) else None


def count_values(samples: NDArray[np.generic]) -> int:
    """Count the different values of samples (n,), up to one more than `MAX_FEW_VALUES`."""
    counter = ValueCounter()
    counter.add(samples)
    return counter.count


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
