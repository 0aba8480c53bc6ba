"""Waveforms as arrays: conversion between 16-bit and float samples, resampling, and optional audio packages."""

from __future__ import annotations

import importlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.containers import RecordingError

FULL_SCALE = 32768.0
"""The 16-bit value of amplitude 1."""
MAX_FLOAT_SAMPLE = 4.0
"""Maximum absolute value of a float sample. Samples above 1 are from filters or mixing: the recording is divided by its
peak. Samples above this maximum have another scale, which is an error."""


def audio_package(name: Literal["soundfile", "soxr"]) -> Any:
    """Import a package of the extra `audio`.

    Raises:
        ValueError: the package is not installed, or its shared library cannot be loaded.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # soundfile raises OSError if libsndfile is missing
        raise ValueError(
            f"Audio needs the package {name}, which cannot be imported ({error}): pip install 'seqlab[audio]'."
        ) from None


def to_int16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round float samples (n,) in [-1, 1] to 16 bit, with clipping and without dither."""
    scaled = samples * FULL_SCALE
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled).astype(np.int16)


def scale_floats(samples: NDArray[np.floating], name: str) -> tuple[NDArray[np.floating], bool]:
    """Divide float samples by their peak if it is above 1; return them, and whether they were divided.

    Raises:
        RecordingError: the peak is above `MAX_FLOAT_SAMPLE` ("scale").
    """
    peak = float(np.abs(samples).max(initial=0))
    if peak > MAX_FLOAT_SAMPLE:
        text = f"floats must be in [-1, 1], but are up to {peak:g}: divide samples of 16 bits by 32768."
        raise RecordingError(name, "scale", text)
    return (samples / samples.dtype.type(peak), True) if peak > 1 else (samples, False)


def to_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Scale 16-bit samples (n,) to [-1, 1)."""
    return samples.astype(np.float32) * np.float32(1 / FULL_SCALE)


def resampled_length(num_samples: int, source_rate: int, rate: int) -> int:
    """Return the number of samples after `resample`: the same duration, rounded to the nearest sample."""
    return (2 * num_samples * rate + source_rate) // (2 * source_rate)


def resample(samples: NDArray[np.float32], source_rate: int, rate: int) -> NDArray[np.float32]:
    """Resample a waveform (n,) by band-limited interpolation, without delay.

    It uses the "high quality" filter of the SoX resampler library: 20 bit, linear phase, flat up to 91% of the lower
    Nyquist frequency. Returns `resampled_length(n, source_rate, rate)` samples.
    """
    if source_rate == rate or not len(samples):
        return samples
    return audio_package("soxr").resample(samples, source_rate, rate, quality="HQ")
