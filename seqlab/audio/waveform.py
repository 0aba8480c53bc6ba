"""Waveforms as arrays: 16-bit and float samples, resampling, and the optional packages that this needs."""

from __future__ import annotations

import importlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32768.0
"""The 16-bit value that stands for an amplitude of 1."""


def audio_package(name: Literal["soundfile", "soxr"]) -> Any:
    """Import one of the packages of the extra `audio`.

    Raises:
        ValueError: it is not installed, or the library that it wraps cannot be loaded.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # soundfile raises OSError where it finds no libsndfile
        raise ValueError(
            f"Audio needs the package {name}, which cannot be imported ({error}): pip install 'seqlab[audio]'."
        ) from None


def to_int16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round float samples (n,) in [-1, 1] to 16 bit; values beyond full scale are clipped, no dither is added."""
    scaled = samples * FULL_SCALE
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled).astype(np.int16)


def to_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Scale 16-bit samples (n,) to [-1, 1)."""
    return samples.astype(np.float32) * np.float32(1 / FULL_SCALE)


def resampled_length(num_samples: int, source_rate: int, rate: int) -> int:
    """Compute how many samples `resample` returns: the same duration, rounded to the nearest sample."""
    return (2 * num_samples * rate + source_rate) // (2 * source_rate)


def resample(samples: NDArray[np.float32], source_rate: int, rate: int) -> NDArray[np.float32]:
    """Change the sampling rate of a waveform (n,) by band-limited interpolation, without delay.

    The filter is that of the SoX resampler library at "high quality": 20 bit, linear phase, flat up to 91% of the lower
    of the two Nyquist frequencies. Returns `resampled_length(n, source_rate, rate)` samples.
    """
    if source_rate == rate or not len(samples):
        return samples
    return audio_package("soxr").resample(samples, source_rate, rate, quality="HQ")
