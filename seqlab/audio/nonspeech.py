"""Draw sounds without speech: silence, noise and music, for training and for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KINDS = ("silence", "noise", "music")
LEVELS_DB = (-60.0, -10.0)
"""Lowest and highest level of noise and music, in dB of full scale."""
SCALE = 220.0 * 2.0 ** (np.arange(37) / 12)
"""The pitches of music, in Hz: three octaves of semitones."""


def draw_nonspeech(size: int, rate: int, rng: np.random.Generator, kind: str | None = None) -> NDArray[np.float32]:
    """Draw a waveform (size,) of a kind: one of `KINDS`, or any of them.

    Silence has noise of the least significant bits. Noise is white, or falls towards high frequencies, perhaps in
    bursts. Music is chords of a few harmonic tones each, which fade.
    """
    kind = KINDS[int(rng.integers(len(KINDS)))] if kind is None else kind
    if kind == "silence":
        return (rng.normal(size=size) * rng.choice([0.0, 2.0**-15, 2.0**-14])).astype(np.float32)
    sound = _noise(size, rng) if kind == "noise" else _music(size, rate, rng)
    level = 10 ** (rng.uniform(*LEVELS_DB) / 20)
    scaled = sound * (level / max(float(np.sqrt(np.mean(sound**2))) if size else 1.0, 1e-9))
    return np.clip(scaled, -1, 1).astype(np.float32)


def _noise(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw noise whose power falls with a random exponent of the frequency, and whose level may change."""
    spectrum = np.fft.rfft(rng.normal(size=size))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1) ** -rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum, size)
    if rng.random() < 0.5:
        points = rng.uniform(0, 1, size=max(2, size // 2000))
        noise *= np.interp(np.linspace(0, 1, size), np.linspace(0, 1, len(points)), points)
    return noise


def _music(size: int, rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw chords one after another."""
    sound, start = np.zeros(size), 0
    while start < size:
        stop = min(size, start + int(rate * rng.uniform(0.15, 0.8)))
        time = np.arange(stop - start) / rate
        chord = np.zeros(stop - start)
        for pitch in rng.choice(SCALE, size=int(rng.integers(1, 5)), replace=False):
            for harmonic in range(1, 5):
                if pitch * harmonic < rate / 2:
                    chord += np.sin(2 * np.pi * (pitch * harmonic * time + rng.random())) / harmonic**1.5
        sound[start:stop] = chord * np.exp(-time * rng.uniform(0, 6))
        start = stop
    return sound
