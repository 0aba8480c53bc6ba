"""Reading of recordings from paths, bytes or arrays, as waveforms of one sampling rate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.containers import check_rate
from seqlab.audio.reading import RecordingError, read_recording
from seqlab.audio.waveform import resample, to_float, to_int16
from seqlab.base.world import usable_cores
from seqlab.data.manifests import ManifestEntry

logger = logging.getLogger(__name__)
BATCH_SECONDS = 120.0
"""Default batch size in seconds of audio, padding included."""
TOO_SHORT = "is shorter than one window of features"
"""Message for a recording without a frame."""
MAX_FLOAT_SAMPLE = 4.0
"""Maximum absolute value of a float sample. Samples above 1, from filters or mixing, are clipped. Samples above this
maximum have another scale, which is an error."""
Waveform = NDArray[np.int16]


def read_waveforms(recordings: Sequence[Any], rate: int) -> list[Waveform | str]:
    """Read recordings as waveforms (n,) of a sampling rate; for an unreadable recording, return an error message.

    Args:
        recordings: for each recording its path, the content of its file as bytes, an entry of a manifest
            (`ManifestEntry`), or `(samples, rate)`: samples (n,) or (n, channels), int16 or floats in [-1, 1].
        rate: sampling rate of the returned waveforms, in samples per second.

    Raises:
        ValueError: `recordings` is not a list.
    """
    if isinstance(recordings, str | bytes | Path):
        raise ValueError(f"`recordings` must be a list, but is {str(recordings)[:60]!r}: put it into one.")
    source_rates: dict[str, int] = {}
    with ThreadPoolExecutor(usable_cores()) as threads:
        read = list(
            threads.map(lambda index: _read_one(index, recordings[index], rate, source_rates), range(len(recordings)))
        )
    _warn_of_lower_rates(source_rates, rate)
    return read


def _warn_of_lower_rates(source_rates: dict[str, int], rate: int) -> None:
    lower = {name: each for name, each in source_rates.items() if each < rate}
    if not lower:
        return
    first = min(lower, key=lambda name: lower[name])
    others = f" {len(lower) - 1:,} other recordings have too low rates, too." if len(lower) > 1 else ""
    text = "%s has %s samples a second, but the model was trained on %s: its upper frequency bands are empty.%s"
    logger.warning(text, first, f"{lower[first]:,}", f"{rate:,}", others)


def recording_name(recording: Any, index: int) -> str:
    """Return the name of a recording for messages: its path, or its number in the list."""
    if isinstance(recording, ManifestEntry):
        return recording.audio
    return str(recording) if isinstance(recording, str | Path) else f"recording {index + 1}"


def _read_one(index: int, recording: Any, rate: int, source_rates: dict[str, int]) -> Waveform | str:
    """Read one recording, and store its original sampling rate in `source_rates` under its name."""
    name = recording_name(recording, index)
    try:
        if isinstance(recording, tuple) and len(recording) == 2:
            if np.ndim(recording[1]):
                return f"{name}: must be (samples, rate), in this order."
            source_rates[name] = int(recording[1])
            return _convert_array(*recording, rate=rate, name=name)
        if isinstance(recording, ManifestEntry):
            if not recording.audio:
                return f"{recording.location}: names no recording."
            content = recording.audio if recording.content is None else recording.content
            found = read_recording(content, rate, name=name, start=recording.start, end=recording.end)
        elif isinstance(recording, str | Path | bytes):
            found = read_recording(recording, rate, name=name)
        else:
            return f"{name}: must be a path, bytes or (samples, rate), but is a {type(recording).__name__}."
        source_rates[name] = found.source_rate
    except RecordingError as error:
        return str(error)
    return found.samples


def _convert_array(samples: Any, source_rate: int, *, rate: int, name: str) -> Waveform | str:
    """Convert samples (n,) or (n, channels) to a waveform; raise RecordingError for an invalid rate."""
    values = np.asarray(samples)
    check_rate(int(source_rate), name)
    if values.dtype != np.int16 and values.dtype.kind != "f":
        return f"{name}: must hold int16 or floats in [-1, 1], but holds {values.dtype}."
    if values.ndim not in (1, 2) or not values.size:
        return f"{name}: must be (n,) or (n, channels), with at least one sample, but is {values.shape}."
    if values.ndim == 2 and values.shape[1] > values.shape[0]:
        return f"{name}: must be (n,) or (n, channels), but is {values.shape}: transpose it."
    if not np.isfinite(values).all():
        return f"{name}: holds NaN or infinite samples."
    if values.dtype.kind == "f" and (highest := float(np.abs(values).max())) > MAX_FLOAT_SAMPLE:
        return f"{name}: floats must be in [-1, 1], but are up to {highest:g}: divide samples of 16 bits by 32768."
    if source_rate == rate and values.dtype == np.int16 and values.ndim == 1:
        return values
    floats = to_float(values) if values.dtype == np.int16 else values.astype(np.float32)
    floats = floats.mean(1, dtype=np.float32) if floats.ndim == 2 else floats
    return to_int16(resample(floats, int(source_rate), rate))
