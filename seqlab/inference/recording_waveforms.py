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
from seqlab.audio.quality import count_values, peak_db, quality_warning, share_at_peak
from seqlab.audio.reading import Recording, RecordingError, read_recording
from seqlab.audio.waveform import MAX_FLOAT_SAMPLE, resample, scale_floats, to_float, to_int16
from seqlab.base.reading_notes import FIRST_READING_VERSION, READING_VERSION
from seqlab.base.world import usable_cores
from seqlab.data.manifests import ManifestEntry
from seqlab.data.recording_segments import other_duration, unread_segment

logger = logging.getLogger(__name__)
BATCH_SECONDS = 120.0
"""Default batch size in seconds of audio, padding included."""
TOO_SHORT = "is shorter than one window of features"
"""Message for a recording without a frame."""
Waveform = NDArray[np.int16]


def read_waveforms(
    recordings: Sequence[Any],
    rate: int,
    reading: int = READING_VERSION,
    warnings: dict[int, str] | None = None,
    channel: str = "",
    max_background_db: float = 0.0,
) -> list[Waveform | str]:
    """Read recordings as waveforms (n,) of a sampling rate; for an unreadable recording, return an error message.

    Args:
        recordings: for each recording its path, the content of its file as bytes, an entry of a manifest
            (`ManifestEntry`), or `(samples, rate)`: samples (n,) or (n, channels), int16 or floats in [-1, 1].
        rate: sampling rate of the returned waveforms, in samples per second.
        reading: version of the reading (`seqlab.base.reading_notes`) of the run.
        warnings: receives a warning for each recording whose answer may be wrong, by its index.
        channel: channel of the recordings that name none, as in `channel_index`; not of samples (n,).
        max_background_db: maximum level of a steady background without a warning, in dB relative to the sound.

    Raises:
        ValueError: `recordings` is not a list.
    """
    if isinstance(recordings, str | bytes | Path):
        raise ValueError(f"`recordings` must be a list, but is {str(recordings)[:60]!r}: put it into one.")
    source_rates: dict[str, int] = {}

    def read_one(index: int) -> Waveform | str:
        try:
            name = recording_name(recordings[index], index)
            result = _read_one(recordings[index], name, rate, reading, channel)
        except RecordingError as error:
            return str(error)
        if isinstance(result, str):
            return result
        source_rates[name] = result.source_rate
        if warnings is not None and (reason := _doubt(recordings[index], result, reading, max_background_db)):
            warnings[index] = f"{name}: {reason}"
        return result.samples

    with ThreadPoolExecutor(usable_cores()) as threads:
        read = list(threads.map(read_one, range(len(recordings))))
    _warn_of_lower_rates(source_rates, rate)
    return read


def _doubt(recording: Any, decoded: Recording, reading: int, max_background_db: float) -> str:
    """Return why the answer for a recording may be wrong; "" if no reason is known."""
    properties = decoded.num_values, max(decoded.clipped, decoded.at_peak), decoded.correlation, max_background_db
    reasons = [quality_warning(decoded.samples, decoded.rate, *properties)]
    if isinstance(recording, ManifestEntry) and recording.is_whole_file and reading > FIRST_READING_VERSION:
        reasons.append(other_duration(recording.columns, decoded.duration, decoded.source_rate))
    return "; ".join(filter(None, reasons))


def silence_fault(waveform: Waveform) -> str:
    """Return the reason why a waveform with a peak below `MIN_PEAK_DB` has no answer."""
    return f"is silent: its peak is {peak_db(waveform):.0f} dB of full scale"


def _warn_of_lower_rates(source_rates: dict[str, int], rate: int) -> None:
    lower = {name: source_rate for name, source_rate in source_rates.items() if source_rate < rate}
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


def _read_one(recording: Any, name: str, rate: int, reading: int, channel: str) -> Recording | str:
    """Read one recording; return a message, or raise RecordingError, if that is not possible."""
    if isinstance(recording, tuple) and len(recording) == 2:
        if np.ndim(recording[1]):
            return f"{name}: must be (samples, rate), in this order."
        return _convert_array(*recording, rate=rate, name=name, reading=reading, channel=channel)
    if isinstance(recording, ManifestEntry):
        if not recording.audio:
            return recording.fault or f"{recording.location}: names no recording."
        content = recording.audio if recording.content is None else recording.content
        start, end, channel = recording.start, recording.end, recording.channel or channel
        read = read_recording(content, rate, name=name, start=start, end=end, channel=channel, reading=reading)
        problem = ""
        if recording.is_whole_file and reading > FIRST_READING_VERSION:
            problem = unread_segment(recording.columns, read.duration, read.source_rate)
        return f"{recording.location}: {problem}." if problem else read
    if isinstance(recording, str | Path | bytes):
        return read_recording(recording, rate, name=name, channel=channel, reading=reading)
    return f"{name}: must be a path, bytes or (samples, rate), but is a {type(recording).__name__}."


def _convert_array(
    samples: Any, source_rate: int, *, rate: int, name: str, reading: int, channel: str
) -> Recording | str:
    """Convert samples (n,) or (n, channels) to a recording.

    Raises:
        RecordingError: the rate is implausible, floats have another scale, the channels cancel, or one does not exist.
    """
    values, source_rate = np.asarray(samples), int(source_rate)
    check_rate(source_rate, name)
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
        properties = False, count_values(values), 1.0, share_at_peak(values)
        return Recording(values, rate, source_rate, 1, 0.0, *properties)
    floats, correlation = to_float(values) if values.dtype == np.int16 else values.astype(np.float32), 1.0
    if floats.ndim == 2:
        mixer = MeanOfChannels(channel_index(channel, floats.shape[1], name), is_chosen=channel != "")
        floats = mixer.mix(floats)
        if reading > FIRST_READING_VERSION:
            mixer.check(name)
        correlation = 1.0 if reading == FIRST_READING_VERSION else mixer.correlation()
    waveform = to_int16(resample(floats, source_rate, rate))
    properties = False, count_values(floats), correlation, share_at_peak(floats)
    return Recording(waveform, rate, source_rate, values.shape[-1], 0.0, *properties)
