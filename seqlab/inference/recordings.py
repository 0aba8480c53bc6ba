"""Reading of recordings from paths, bytes or arrays, as waveforms of one sampling rate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.channel_names import channel_index
from seqlab.audio.channels import MeanOfChannels
from seqlab.audio.containers import check_rate
from seqlab.audio.reading import RecordingError, peak_db, read_recording
from seqlab.audio.waveform import MAX_FLOAT_SAMPLE, resample, scale_floats, to_float, to_int16
from seqlab.base.reading import FIRST_READING_VERSION, READING_VERSION
from seqlab.base.world import usable_cores
from seqlab.data.manifests import ManifestEntry

logger = logging.getLogger(__name__)
BATCH_SECONDS = 120.0
"""Default batch size in seconds of audio, padding included."""
TOO_SHORT = "is shorter than one window of features"
"""Message for a recording without a frame."""
MAX_CLIPPED_SHARE = 0.01
"""Maximum share of clipped samples of a recording without a warning."""
Waveform = NDArray[np.int16]


def read_waveforms(
    recordings: Sequence[Any],
    rate: int,
    reading: int = READING_VERSION,
    warnings: dict[int, str] | None = None,
    channel: str = "",
) -> list[Waveform | str]:
    """Read recordings as waveforms (n,) of a sampling rate; for an unreadable recording, return an error message.

    Args:
        recordings: for each recording its path, the content of its file as bytes, an entry of a manifest
            (`ManifestEntry`), or `(samples, rate)`: samples (n,) or (n, channels), int16 or floats in [-1, 1].
        rate: sampling rate of the returned waveforms, in samples per second.
        reading: version of the reading (`seqlab.base.reading`) of the run.
        warnings: receives a warning for each recording, by its index, that is too clipped for a reliable answer.
        channel: channel of the recordings that name none, as in `channel_index`; not of samples (n,).

    Raises:
        ValueError: `recordings` is not a list.
    """
    if isinstance(recordings, str | bytes | Path):
        raise ValueError(f"`recordings` must be a list, but is {str(recordings)[:60]!r}: put it into one.")
    source_rates: dict[str, int] = {}
    found_warnings = {} if warnings is None else warnings

    def read_one(index: int) -> Waveform | str:
        return _read_one(index, recordings[index], rate, reading, channel, source_rates, found_warnings)

    with ThreadPoolExecutor(usable_cores()) as threads:
        read = list(threads.map(read_one, range(len(recordings))))
    _warn_of_lower_rates(source_rates, rate)
    return read


def silence_fault(waveform: Waveform) -> str:
    """Return the reason why a waveform with a peak below `MIN_PEAK_DB` has no answer."""
    return f"is silent: its peak is {peak_db(waveform):.0f} dB of full scale"


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


def _read_one(
    index: int,
    recording: Any,
    rate: int,
    reading: int,
    channel: str,
    source_rates: dict[str, int],
    warnings: dict[int, str],
) -> Waveform | str:
    """Read one recording; store its sampling rate in `source_rates` under its name, and a warning under its index."""
    name = recording_name(recording, index)
    try:
        if isinstance(recording, tuple) and len(recording) == 2:
            if np.ndim(recording[1]):
                return f"{name}: must be (samples, rate), in this order."
            source_rates[name] = int(recording[1])
            return _convert_array(*recording, rate=rate, name=name, reading=reading, channel=channel)
        if isinstance(recording, ManifestEntry):
            if not recording.audio:
                return recording.fault or f"{recording.location}: names no recording."
            content = recording.audio if recording.content is None else recording.content
            start, end, channel = recording.start, recording.end, recording.channel or channel
            found = read_recording(content, rate, name=name, start=start, end=end, channel=channel, reading=reading)
        elif isinstance(recording, str | Path | bytes):
            found = read_recording(recording, rate, name=name, channel=channel, reading=reading)
        else:
            return f"{name}: must be a path, bytes or (samples, rate), but is a {type(recording).__name__}."
        source_rates[name] = found.source_rate
        if found.clipped > MAX_CLIPPED_SHARE:
            warnings[index] = f"{name}: {found.clipped:.0%} of its samples are clipped"
    except RecordingError as error:
        return str(error)
    return found.samples


def _convert_array(
    samples: Any, source_rate: int, *, rate: int, name: str, reading: int, channel: str
) -> Waveform | str:
    """Convert samples (n,) or (n, channels) to a waveform.

    Raises:
        RecordingError: the rate is implausible, floats have another scale, the channels cancel, or one does not exist.
    """
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
    if values.dtype.kind == "f" and (reading > FIRST_READING_VERSION or np.abs(values).max() > MAX_FLOAT_SAMPLE):
        values, _ = scale_floats(values, name)
    if source_rate == rate and values.dtype == np.int16 and values.ndim == 1:
        return values
    floats = to_float(values) if values.dtype == np.int16 else values.astype(np.float32)
    if floats.ndim == 2:
        mixer = MeanOfChannels(channel_index(channel, floats.shape[1], name))
        floats = mixer.mix(floats)
        if reading > FIRST_READING_VERSION:
            mixer.check(name)
    return to_int16(resample(floats, int(source_rate), rate))
