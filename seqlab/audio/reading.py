"""Reading audio files as mono 16-bit waveforms at a given sampling rate, with detection of damage and clipping.

Version 1 of the reading (`seqlab.base.reading_notes`) averages channels that cancel, clips all floats beyond full
scale, and reads only the first of several files that were appended.

The samples depend only on the file and the segment. libsndfile seeks exactly only in uncompressed files and FLAC: after
a seek in Ogg Vorbis, the first samples can be wrong, and an mp3 frame depends on bits of earlier frames. Therefore, a
segment of an Ogg or mp3 file is decoded from the start of the file.
"""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.channel_names import channel_index
from seqlab.audio.channels import MeanOfChannels
from seqlab.audio.containers import (
    AUDIO_SUFFIXES,
    MAX_RATE,
    MIN_RATE,
    RecordingError,
    check_container,
    check_rate,
    looks_like_audio,
    truncated_error,
)
from seqlab.audio.lengths import check_length
from seqlab.audio.quality import MAX_FEW_VALUES, SILENCE_DB, PeakCounter, ValueCounter, peak_db
from seqlab.audio.waveform import audio_package, scale_floats, to_float, to_int16
from seqlab.base.reading_notes import FIRST_READING_VERSION, READING_VERSION

__all__ = [
    "AUDIO_SUFFIXES",
    "SILENCE_DB",
    "Recording",
    "RecordingError",
    "looks_like_audio",
    "read_recording",
    "to_float",
    "to_int16",
]

MAX_OVERSHOOT_SECONDS = 0.5
"""Maximum time that a segment may extend beyond the end of its recording. It is cut there, as in Kaldi's
extract-segments."""

READ_BLOCK_FRAMES = 1 << 18
"""Number of frames read at a time."""
MAX_PLAUSIBLE_FRAMES = 1 << 62
"""Number of frames above which a header does not declare the true number."""
MISSING_ADVICE = "Correct the path, or leave the recording out."
CONVERSION_ADVICE = "Convert it to WAV, FLAC, Ogg or mp3, for example by `ffmpeg -i IN OUT.flac`, or leave it out."

FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")
"""Sample formats without a maximum, by their names in libsndfile."""
MAX_AMPLITUDE_OF_8_BITS: Final = {
    "PCM_S8": 127 / 128,
    "PCM_U8": 127 / 128,
    "ULAW": 32124 / 32768,
    "ALAW": 32256 / 32768,
}
"""Largest positive amplitude of 8-bit sample formats, by their names in libsndfile."""
MAX_AMPLITUDE = 32767 / 32768
"""Largest positive amplitude of all other formats."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A mono waveform with properties of its file.

    Attributes:
        samples: (n,) 16-bit samples at `rate`.
        rate: sampling rate of `samples` in Hz.
        source_rate: sampling rate of the file in Hz.
        channels: number of channels of the file; `samples` is their mean, or the chosen one.
        clipped: share of the file's samples at full scale, in runs of at least two.
        is_scaled: whether floats beyond full scale were divided by their maximum.
        num_values: number of different values of the file's samples, as `ValueCounter` counts them.
        correlation: correlation of the channels whose mean is read; 1 for a single or chosen channel.
        at_peak: share of the samples at the peak of the file, as `PeakCounter` counts them.
    """

    samples: NDArray[np.int16]
    rate: int
    source_rate: int
    channels: int
    clipped: float
    is_scaled: bool = False
    num_values: int = MAX_FEW_VALUES + 1
    correlation: float = 1.0
    at_peak: float = 0.0

    @property
    def duration(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate

    @property
    def is_silent(self) -> bool:
        """Whether all samples are below `SILENCE_DB`, apart from a constant offset."""
        return peak_db(self.samples) < SILENCE_DB


def read_recording(
    source: str | Path | bytes,
    rate: int,
    *,
    name: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    channel: str = "",
    reading: int = READING_VERSION,
) -> Recording:
    """Read an audio file, or a segment of one, as a mono 16-bit waveform.

    All formats of libsndfile are supported (WAV including GSM 6.10, FLAC, Ogg Vorbis and Opus, mp3, AIFF, ...). The
    channels are averaged, resampled by soxr (HQ), rounded to 16 bit and clipped. Floats from 1 to `MAX_FLOAT_SAMPLE`,
    which programs write after mixing, are divided by their maximum instead.

    Args:
        source: a path, or the content of a file.
        rate: sampling rate of the result in Hz.
        name: name of the recording in messages; the default is the path.
        start: start of the segment in seconds, as in Kaldi's file `segments`.
        end: end of the segment in seconds; None for the end of the recording.
        channel: a channel instead of the mean of all, as in `channel_index`.
        reading: version of the reading.

    Raises:
        RecordingError: the file is missing, not audio, empty or truncated, has values that are not numbers, are of
            another scale or cancel in the mean of the channels, has a wrong header, no such channel or several
            recordings, or ends before the segment.
        ValueError: `rate`, `start` or `end` is out of range, or soundfile or soxr is not installed.
    """
    name = name or ("a recording" if isinstance(source, bytes) else str(source))
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"`rate` must be from {MIN_RATE} to {MAX_RATE}, but is {rate} instead.")
    if not 0 <= start < (math.inf if end is None else end) or end == math.inf:
        raise ValueError(f"{name}: a segment must have 0 <= start < end in seconds, but has {start} and {end} instead.")
    with _binary_stream(source, name, reading) as stream, _open_sound(stream, name) as sound:
        check_rate(sound.samplerate, name)
        segment = _frames_of_segment(sound, start, end, name)
        is_chosen = channel != "" or reading == FIRST_READING_VERSION
        mixer = MeanOfChannels(channel_index(channel, sound.channels, name), is_chosen=is_chosen)
        return _read_frames(sound, segment, rate, name, mixer, reading)


def _read_frames(
    sound: Any, segment: tuple[int, int], rate: int, name: str, mixer: MeanOfChannels, reading: int
) -> Recording:
    """Read the frames of a segment, which is its first frame and the one after the last, as a recording."""
    meter, counter, peaks = ClippingMeter(sound.subtype, sound.channels), ValueCounter(), PeakCounter()
    is_float = reading > FIRST_READING_VERSION and sound.subtype in FLOAT_SUBTYPES
    blocks = _decode_frames(sound, *segment, rate, name, mixer, (meter, counter, peaks))
    if is_float:  # the scale is known after the last block
        floats, is_scaled = scale_floats(np.concatenate(list(blocks)), name)
        samples = to_int16(floats)
    else:
        samples, is_scaled = np.concatenate([to_int16(block) for block in blocks]), False
    if not len(samples):
        raise RecordingError(name, "empty", f"less than one sample at {rate:,} Hz. Leave it out.")
    if reading > FIRST_READING_VERSION:
        mixer.check(name)
    clipped = 0.0 if is_scaled else meter.share()
    properties = clipped, is_scaled, counter.count, mixer.correlation(), peaks.share()
    return Recording(samples, rate, sound.samplerate, sound.channels, *properties)


@contextmanager
def _binary_stream(source: str | Path | bytes, name: str, reading: int) -> Iterator[BinaryIO]:
    """Open a source and check the size in its header; a placeholder size of 0 is replaced."""
    with io.BytesIO(source) if isinstance(source, bytes) else _open_file(Path(source), name) as stream:
        if not stream.seek(0, os.SEEK_END):
            raise RecordingError(name, "empty", "the file has no bytes. Leave it out.")
        offset = check_container(stream, name)
        if reading > FIRST_READING_VERSION:
            check_length(stream, name)
        stream.seek(0)
        if offset is None:
            yield stream
        else:
            content = bytearray(stream.read())
            content[offset : offset + 4] = b"\xff" * 4  # then libsndfile reads to the end of the file
            yield io.BytesIO(content)


def _open_file(path: Path, name: str) -> BinaryIO:
    """Open a file unbuffered, because libsndfile reads from its descriptor; a pipe is read into memory."""
    try:
        file = path.open("rb", buffering=0)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        with file:
            if stat.S_ISCHR(os.fstat(file.fileno()).st_mode) and not file.isatty():
                raise RecordingError(name, "unreadable", "It is a device, which may be endless.")
            return io.BytesIO(file.readall())
    except ValueError:  # a name with a NUL
        raise RecordingError(name, "missing", "This is not a valid file name: correct it.") from None
    except FileNotFoundError:
        text = "It is a URL: download the file, and name its path." if "://" in name else MISSING_ADVICE
        raise RecordingError(name, "missing", text) from None
    except OSError as error:
        raise RecordingError(name, "unreadable", f"{error.strerror}. Name an audio file that can be read.") from None


def _open_sound(stream: BinaryIO, name: str) -> Any:
    """Open a stream as a `soundfile.SoundFile`, which leaves the stream's descriptor open when it is closed."""
    soundfile = audio_package("soundfile")
    head = stream.read(512)
    stream.seek(0)
    try:
        return soundfile.SoundFile(stream.fileno() if isinstance(stream, io.FileIO) else stream, closefd=False)
    except soundfile.LibsndfileError as error:
        reason = f'soundfile reports "{error.error_string}"'
        if not looks_like_audio(head):
            kind = "looks like a text file" if _looks_like_text(head) else "does not start like an audio file"
            reason = f"it {kind} ({reason})"
        raise RecordingError(name, "unreadable", f"{reason}. {CONVERSION_ADVICE}") from None


def _looks_like_text(head: bytes) -> bool:
    """Return whether bytes are UTF-8 without control characters; the last character may be incomplete."""
    text = head.decode(errors="replace").rstrip("\ufffd")
    return "\ufffd" not in text and all(character.isprintable() or character.isspace() for character in text)


def _frames_of_segment(sound: Any, start: float, end: float | None, name: str) -> tuple[int, int]:
    """Return the range of frames of a segment: the first frame, and the one after the last."""
    if sound.frames == 0:
        raise RecordingError(name, "empty", "the file has a header but no samples. Leave it out.")
    if sound.frames > MAX_PLAUSIBLE_FRAMES:
        raise RecordingError(name, "header", f"it does not declare its number of samples. {CONVERSION_ADVICE}")
    duration = sound.frames / sound.samplerate
    if start >= duration or (end is not None and end > duration + MAX_OVERSHOOT_SECONDS):
        raise RecordingError(
            name,
            "truncated",
            f"it has {duration:.3f} seconds, but its segment is from {start} to {'its end' if end is None else end} "
            "seconds. Correct the segment, or copy the recording again.",
        )
    first = round(start * sound.samplerate)
    last = sound.frames if end is None else min(sound.frames, round(end * sound.samplerate))
    if first >= last:
        raise RecordingError(name, "empty", f"its segment from {start} to {end} seconds has no samples. Leave it out.")
    return first, last


def _decode_frames(
    sound: Any,
    first: int,
    last: int,
    rate: int,
    name: str,
    mixer: MeanOfChannels,
    meters: tuple[ClippingMeter, ValueCounter, PeakCounter],
) -> Iterator[NDArray[np.float32]]:
    """Decode, mix and resample frames in blocks (n,)."""
    (meter, counter, peaks), stream = meters, None
    if sound.samplerate != rate:
        stream = audio_package("soxr").ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="HQ")
    for position, block in _read_blocks(sound, first, last, name):
        if not np.isfinite(block).all():
            second = (position + int(np.argmin(np.isfinite(block).all(axis=1)))) / sound.samplerate
            text = f"the first one is at {second:.3f} seconds. Write it again without them, or leave it out."
            raise RecordingError(name, "nan", text)
        meter.add(block)
        mono = mixer.mix(block)
        counter.add(mono)
        peaks.add(mono)
        if stream is not None:
            mono = stream.resample_chunk(np.ascontiguousarray(mono), last=position + len(block) == last)
        yield mono


def _read_blocks(sound: Any, first: int, last: int, name: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the frames from `first` up to, but not including, `last` in blocks (n, channels).

    Each block comes with the position of its first frame. soundfile seeks after each block, which would change the
    decoded samples of an mp3. Therefore, an mp3 is read as a single block.

    Raises:
        RecordingError: the file has fewer frames, or they cannot be decoded ("truncated").
    """
    error_type = audio_package("soundfile").LibsndfileError
    position, block_frames = 0, last if sound.format == "MP3" else READ_BLOCK_FRAMES
    try:
        if first and sound.seekable() and sound.format not in ("MP3", "OGG"):
            position = sound.seek(first)
        while position < last:
            block = sound.read(min(block_frames, last - position), dtype="float32", always_2d=True)
            if not len(block):
                raise truncated_error(
                    name,
                    f"its header declares {sound.frames / sound.samplerate:.3f} seconds, but decoding ends after "
                    f"{position / sound.samplerate:.3f}.",
                )
            skipped = max(0, first - position)
            if skipped < len(block):
                yield position + skipped, block[skipped:]
            position += len(block)
    except error_type as error:
        second = position / sound.samplerate
        raise truncated_error(name, f'after {second:.3f} seconds soundfile reports "{error.error_string}".') from None


class ClippingMeter:
    """Measure the share of clipped samples over consecutive blocks.

    Samples are clipped if at least two successive ones of a channel are at full scale with the same sign: a single
    sample can be an unclipped peak. Values beyond full scale count as well, because decoders of lossy formats overshoot
    where the source was clipped.
    """

    def __init__(self, subtype: str, channels: int) -> None:
        self.level = np.float32(MAX_AMPLITUDE_OF_8_BITS.get(subtype, MAX_AMPLITUDE))
        self.channels = channels
        self.num_samples = 0
        self.num_clipped = 0
        # The last two rows of the previous block, for both signs: the neighbor after the last row is still unknown.
        self._before = np.zeros((2, 2, channels), bool)

    def add(self, block: NDArray[np.float32]) -> None:
        """Count the samples of the next block (n, channels)."""
        self.num_samples += block.size
        if block.max() < self.level and block.min() > -self.level:
            self._count(np.zeros((2, 1, self.channels), bool))
            self._before[:] = False
        else:
            self._count(np.stack([block >= self.level, block <= -self.level]))

    def share(self) -> float:
        """Return the clipped share of all samples; call it after the last block."""
        self._count(np.zeros((2, 1, self.channels), bool))
        return self.num_clipped / self.num_samples

    def _count(self, at_limit: NDArray[np.bool_]) -> None:
        """Count the clipped samples of the rows with known neighbors: all except the first and the last."""
        rows = np.concatenate([self._before, at_limit], axis=1)  # (sign, n, channel)
        self.num_clipped += int((rows[:, 1:-1] & (rows[:, :-2] | rows[:, 2:])).sum())
        self._before = rows[:, -2:].copy()
