"""Random sounds without speech (silence, noise, music) for training and tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NONSPEECH_KINDS = ("silence", "noise", "music")
NONSPEECH_LEVELS_DB = (-60.0, -10.0)
"""Lowest and highest level of noise and music in dB of full scale."""
PITCHES_HZ = 55.0 * 2.0 ** (np.arange(61) / 12)
"""Pitches of music in Hz: five octaves of semitones."""
MAX_HARMONICS = 24
"""Maximum number of harmonics of a note."""


def draw_nonspeech(size: int, rate: int, rng: np.random.Generator, kind: str | None = None) -> NDArray[np.float32]:
    """Generate a random waveform (size,) of a kind in `NONSPEECH_KINDS`, or of a random kind.

    - Silence: noise in the least significant bits.
    - Noise: a random spectral slope, sometimes with resonances and a varying level.
    - Music: up to four voices with different instruments, sometimes with drums.

    Noise and music may fill only a part of the waveform.
    """
    kind = NONSPEECH_KINDS[int(rng.integers(len(NONSPEECH_KINDS)))] if kind is None else kind
    if kind == "silence":
        return (rng.normal(size=size) * rng.choice([0.0, 2.0**-15, 2.0**-14])).astype(np.float32)
    sound = _draw_noise(size, rng) if kind == "noise" else _draw_music(size, rate, rng)
    if rng.random() < 0.3:  # a short sound in a quiet recording
        start, stop = sorted(rng.integers(size + 1, size=2))
        sound[:start] = sound[stop:] = 0
    level = 10 ** (rng.uniform(*NONSPEECH_LEVELS_DB) / 20)
    scaled = sound * (level / max(float(np.sqrt(np.mean(sound**2))) if size else 1.0, 1e-9))
    return np.clip(scaled, -1, 1).astype(np.float32)


def _draw_noise(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Generate noise with a random spectral slope, sometimes with resonances and a varying level."""
    spectrum = np.fft.rfft(rng.normal(size=size))
    frequencies = np.linspace(0, 1, len(spectrum))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1) ** -rng.uniform(0, 1)
    for _ in range(int(rng.integers(3))):
        center, width = rng.uniform(0, 1), rng.uniform(0.01, 0.2)
        spectrum *= 1 + rng.uniform(1, 10) * np.exp(-(((frequencies - center) / width) ** 2))
    noise = np.fft.irfft(spectrum, size)
    if rng.random() < 0.5:
        points = rng.uniform(0, 1, size=max(2, size // 2000))
        noise *= np.interp(np.linspace(0, 1, size), np.linspace(0, 1, len(points)), points)
    return noise


def _draw_music(size: int, rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Generate voices, drums or both."""
    beat = int(rate * rng.uniform(0.08, 0.5))
    num_voices = int(rng.choice([0, 0, 1, 2, 3, 4]))
    sound = np.zeros(size)
    for _ in range(num_voices):
        sound += _draw_voice(size, rate, beat, rng)
    return sound + _draw_drums(size, rate, beat, rng) if num_voices == 0 or rng.random() < 0.5 else sound


def _draw_voice(size: int, rate: int, beat: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Generate notes, chords and rests of a random instrument (harmonics, attack, decay, vibrato)."""
    slope, step = rng.uniform(0.3, 2.5), int(rng.choice([1, 1, 2]))  # with step 2, only odd harmonics
    attack, fading = rng.uniform(0.002, 0.08), rng.choice([0.0, rng.uniform(0, 15)])
    depth, speed = rng.choice([0.0, rng.uniform(0, 0.02)]), rng.uniform(4, 8)
    glide = rng.choice([0.0, 0.0, rng.uniform(-3, 3)])
    lowest = int(rng.integers(len(PITCHES_HZ) - 12))
    sound, start = np.zeros(size), 0
    while start < size:
        stop = min(size, start + beat * int(rng.integers(1, 4)))
        time = np.arange(stop - start) / rate
        bent = np.expm1(glide * time) / glide if glide else time
        vibrato = bent + depth * np.sin(2 * np.pi * speed * time) / (2 * np.pi * speed)
        for pitch in rng.choice(PITCHES_HZ[lowest : lowest + 25], size=int(rng.integers(4)), replace=False):
            harmonics = np.arange(1, MAX_HARMONICS + 1, step)
            harmonics = harmonics[harmonics * pitch < rate / 2]
            phases = 2 * np.pi * (np.outer(harmonics * pitch, vibrato) + rng.random((len(harmonics), 1)))
            sound[start:stop] += harmonics**-slope @ np.sin(phases)
        sound[start:stop] *= np.minimum(time / attack, 1) * np.exp(-time * fading)
        start = stop
    return sound


def _draw_drums(size: int, rate: int, beat: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Generate short decaying noises, some with a falling tone, on most beats."""
    sound = np.zeros(size)
    kinds = [(rng.uniform(0, 0.9), rng.uniform(8, 60), rng.uniform(40, 300)) for _ in range(3)]
    for start in range(0, size, beat):
        if rng.random() < 0.3:
            continue
        smoothness, fading, pitch = kinds[int(rng.integers(len(kinds)))]
        time = np.arange(min(beat, size - start)) / rate
        noise = rng.normal(size=len(time))
        noise[1:] -= smoothness * noise[:-1]
        tone = np.sin(2 * np.pi * pitch * (1 - np.exp(-10 * time)) / 10)
        sound[start : start + len(time)] = (rng.uniform(0, 1) * noise + rng.uniform(0, 2) * tone) * np.exp(
            -time * fading
        )
    return sound
