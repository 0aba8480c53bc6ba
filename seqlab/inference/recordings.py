"""Recordings that are named by users: paths, bytes or arrays to waveforms."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.reading import RecordingError, read_recording
from seqlab.audio.waveform import resample, to_float, to_int16
from seqlab.world import usable_cores

logger = logging.getLogger(__name__)
BATCH_SECONDS = 120.0
"""Seconds of speech, padding counted, that are computed together."""
Waveform = NDArray[np.int16]


def read_waveforms(recordings: Sequence[Any], rate: int) -> list[Waveform | str]:
    """Read recordings: waveforms (n,) of a rate, or what is wrong with one; empty text for None.

    Args:
        recordings: of each the path of a file; its content as bytes; or a waveform with its rate, `(samples, rate)`:
            (n,) or (n, channels), int16 or floats in [-1, 1].
        rate: samples per second.

    Raises:
        ValueError: `recordings` is no list.
    """
    if isinstance(recordings, str | bytes | Path):
        raise ValueError(f"`recordings` must be a list, but is {str(recordings)[:60]!r}: put it into one.")
    with ThreadPoolExecutor(usable_cores()) as threads:
        return list(threads.map(lambda each: _read(each, rate), recordings))


def _read(recording: Any, rate: int) -> Waveform | str:
    if recording is None:
        return ""
    try:
        if isinstance(recording, tuple):
            return _of_array(*recording, rate=rate)
        found = read_recording(recording, rate)
    except RecordingError as error:
        return str(error)
    if found.source_rate < rate:
        name = "a recording" if isinstance(recording, bytes) else recording
        text = "%s has %s samples a second, but the model was trained on %s: nothing is in its upper bands"
        logger.warning(text, name, f"{found.source_rate:,}", f"{rate:,}")
    return found.samples


def _of_array(samples: Any, source_rate: int, *, rate: int) -> Waveform | str:
    """Convert samples (n,) or (n, channels) of a rate."""
    values = np.asarray(samples)
    if values.dtype != np.int16 and values.dtype.kind != "f":
        return f"A waveform must hold int16 or floats in [-1, 1], but holds {values.dtype}."
    floats = to_float(values) if values.dtype == np.int16 else values.astype(np.float32)
    floats = floats.mean(1, dtype=np.float32) if floats.ndim == 2 else floats
    if floats.ndim != 1 or not len(floats):
        return f"A waveform must be (n,) or (n, channels), with at least one sample, but is {values.shape}."
    if not np.isfinite(floats).all():
        return "A waveform holds NaN or infinite samples."
    if source_rate == rate and values.dtype == np.int16 and values.ndim == 1:
        return values
    return to_int16(resample(floats, int(source_rate), rate))
