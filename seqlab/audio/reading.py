"""Read audio files into mono 16-bit waveforms at one sampling rate, and refuse damaged ones.

Reading depends on the file alone. libsndfile's seeking is exact for uncompressed files and FLAC only: after a seek in
Ogg Vorbis the first samples may be wrong, and an mp3 lacks the bits that earlier frames lent to it. A segment of such a
file is therefore decoded from the file's beginning.
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
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.clipping import ClippingMeter
from seqlab.audio.containers import (
    AUDIO_SUFFIXES,
    MAX_RATE,
    MIN_RATE,
    RecordingError,
    check_container,
    check_rate,
    looks_like_audio,
    truncated,
)
from seqlab.audio.waveform import FULL_SCALE, audio_package, to_float, to_int16

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

SILENCE_DB = -60.0
"""A recording whose highest peak is below this level, in dB of full scale, is called silent."""

MAX_OVERSHOOT = 0.5
"""Seconds that a segment may end after its recording; as in Kaldi's extract-segments, it is then cut."""

BLOCK_FRAMES = 1 << 18
UNKNOWN_FRAMES = 1 << 62
CONVERT = "Give a recording as WAV, FLAC, Ogg or mp3 (`ffmpeg -i IN OUT.flac` converts others), or leave it out."


@dataclass(frozen=True, eq=False)
class Recording:
    """A mono waveform, and what is known of the file that it came from.

    Attributes:
        samples: (n,) 16-bit samples at `rate`.
        rate: samples a second.
        source_rate: samples a second of the file.
        channels: the file's channels, of which `samples` is the mean.
        clipped: share of the file's samples at full scale, in runs of two and more.
    """

    samples: NDArray[np.int16]
    rate: int
    source_rate: int
    channels: int
    clipped: float

    @property
    def duration(self) -> float:
        """Return the length in seconds."""
        return len(self.samples) / self.rate

    @property
    def is_silent(self) -> bool:
        """Tell whether no sample reaches `SILENCE_DB`."""
        return _decibels(float(np.abs(self.samples.astype(np.int32)).max())) < SILENCE_DB


def read_recording(
    source: str | Path | bytes, rate: int, *, name: str | None = None, start: float = 0.0, end: float | None = None
) -> Recording:
    """Read an audio file, or a segment of one, as a mono 16-bit waveform.

    Takes every format of libsndfile (WAV including GSM 6.10, FLAC, Ogg Vorbis and Opus, mp3, AIFF, ...). Channels are
    averaged, the mean is resampled by soxr (HQ) and rounded to 16 bit; values beyond full scale are clipped.

    Args:
        source: a path, or the content of a file.
        rate: samples a second of the result.
        name: what messages call the recording; the path unless given.
        start: where the segment starts, in seconds.
        end: where it ends, in seconds; None for the end of the recording. Kaldi's file `segments` has both.

    Raises:
        RecordingError: the file is missing, not audio, empty, truncated, has values that are not numbers or a wrong
            header, or ends before the segment does.
        ValueError: `rate`, `start` or `end` is out of range, or soundfile or soxr is not installed.
    """
    name = name or ("a recording" if isinstance(source, bytes) else str(source))
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"`rate` must be from {MIN_RATE} to {MAX_RATE}, but is {rate} instead.")
    if not 0 <= start < (math.inf if end is None else end) or end == math.inf:
        raise ValueError(f"{name}: a segment must have 0 <= start < end in seconds, but has {start} and {end} instead.")
    with _binary_stream(source, name) as stream, _open_sound(stream, name) as sound:
        check_rate(sound.samplerate, name)
        first, last = _frames_of_segment(sound, start, end, name)
        samples, clipped = _decode(sound, first, last, rate, name)
        if not len(samples):
            raise RecordingError(name, "empty", f"less than one sample at {rate:,} Hz. Leave it out.")
        return Recording(samples, rate, sound.samplerate, sound.channels, clipped)


@contextmanager
def _binary_stream(source: str | Path | bytes, name: str) -> Iterator[BinaryIO]:
    """Open a source, check what its header says of its size, and complete a size of 0 in the header of a stream."""
    with io.BytesIO(source) if isinstance(source, bytes) else _opened_file(Path(source), name) as stream:
        if not stream.seek(0, os.SEEK_END):
            raise RecordingError(name, "empty", "the file has no bytes. Leave it out.")
        offset = check_container(stream, name)
        stream.seek(0)
        if offset is None:
            yield stream
        else:
            content = bytearray(stream.read())
            content[offset : offset + 4] = b"\xff" * 4  # libsndfile then reads up to the end of the file
            yield io.BytesIO(content)


def _opened_file(path: Path, name: str) -> BinaryIO:
    """Open a file without a buffer, as libsndfile reads from its descriptor; read a pipe whole."""
    try:
        file = path.open("rb", buffering=0)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        with file:
            if stat.S_ISCHR(os.fstat(file.fileno()).st_mode) and not file.isatty():
                raise RecordingError(name, "unreadable", "It is a device, which may have no end.")
            return io.BytesIO(file.readall())
    except ValueError:  # of a name with a NUL
        raise RecordingError(name, "missing", "No file can have this name: correct it.") from None
    except FileNotFoundError:
        raise RecordingError(name, "missing", "Correct the path, or leave the recording out.") from None
    except OSError as error:
        raise RecordingError(name, "unreadable", f"{error.strerror}. Name an audio file that can be read.") from None


def _open_sound(stream: BinaryIO, name: str) -> Any:
    """Open a `soundfile.SoundFile`; its descriptor remains the stream's."""
    soundfile = audio_package("soundfile")
    head = stream.read(512)
    stream.seek(0)
    try:
        return soundfile.SoundFile(stream.fileno() if isinstance(stream, io.FileIO) else stream, closefd=False)
    except soundfile.LibsndfileError as error:
        reason = f'soundfile says "{error.error_string}"'
        if not looks_like_audio(head):
            kind = "looks like a text file" if _is_text(head) else "does not begin like an audio file"
            reason = f"it {kind} ({reason})"
        raise RecordingError(name, "unreadable", f"{reason}. {CONVERT}") from None


def _is_text(head: bytes) -> bool:
    """Tell whether bytes are UTF-8 without control characters; the last character may be cut off."""
    text = head.decode(errors="replace").rstrip("\ufffd")
    return "\ufffd" not in text and all(character.isprintable() or character.isspace() for character in text)


def _frames_of_segment(sound: Any, start: float, end: float | None, name: str) -> tuple[int, int]:
    """Return the first frame of a segment and the frame after its last one."""
    if sound.frames == 0:
        raise RecordingError(name, "empty", "the file has a header but no samples. Leave it out.")
    if sound.frames > UNKNOWN_FRAMES:
        raise RecordingError(name, "header", f"it does not say how many samples there are. {CONVERT}")
    duration = sound.frames / sound.samplerate
    if start >= duration or (end is not None and end > duration + MAX_OVERSHOOT):
        raise RecordingError(
            name,
            "truncated",
            f"it lasts {duration:.3f} seconds, but its segment is from {start} to {'its end' if end is None else end} "
            "seconds. Correct the segment, or copy the recording again.",
        )
    first = round(start * sound.samplerate)
    last = sound.frames if end is None else min(sound.frames, round(end * sound.samplerate))
    if first >= last:
        raise RecordingError(name, "empty", f"its segment from {start} to {end} seconds has no samples. Leave it out.")
    return first, last


def _decode(sound: Any, first: int, last: int, rate: int, name: str) -> tuple[NDArray[np.int16], float]:
    """Decode, mix and resample frames block by block; return 16-bit samples (n,) and the clipped share."""
    meter, pieces = ClippingMeter(sound.subtype, sound.channels), []
    stream = None
    if sound.samplerate != rate:
        stream = audio_package("soxr").ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="HQ")
    for position, block in _blocks(sound, first, last, name):
        if not np.isfinite(block).all():
            second = (position + int(np.argmin(np.isfinite(block).all(axis=1)))) / sound.samplerate
            text = f"the first one is at {second:.3f} seconds. Repair the program that wrote it, or leave it out."
            raise RecordingError(name, "nan", text)
        meter.add(block)
        mono = block[:, 0] if sound.channels == 1 else _mean(block)
        if stream is not None:
            mono = stream.resample_chunk(np.ascontiguousarray(mono), last=position + len(block) == last)
        pieces.append(to_int16(mono))
    return np.concatenate(pieces), meter.share()


def _blocks(sound: Any, first: int, last: int, name: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Give the frames from `first` up to `last` in blocks (n, channels), each with the position of its first frame.

    soundfile seeks after each block, which changes what an mp3 is decoded to: an mp3 is one block.

    Raises:
        RecordingError: there are fewer frames, or they cannot be decoded ("truncated").
    """
    error_type = audio_package("soundfile").LibsndfileError
    position, block_frames = 0, last if sound.format == "MP3" else BLOCK_FRAMES
    try:
        if first and sound.seekable() and sound.format not in ("MP3", "OGG"):
            position = sound.seek(first)
        while position < last:
            block = sound.read(min(block_frames, last - position), dtype="float32", always_2d=True)
            if not len(block):
                raise truncated(
                    name,
                    f"its header announces {sound.frames / sound.samplerate:.3f} seconds, but decoding ends after "
                    f"{position / sound.samplerate:.3f}.",
                )
            skipped = max(0, first - position)
            if skipped < len(block):
                yield position + skipped, block[skipped:]
            position += len(block)
    except error_type as error:
        second = position / sound.samplerate
        raise truncated(name, f'after {second:.3f} seconds soundfile says "{error.error_string}".') from None


def _mean(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels of (n, channels); column by column, as numpy is slow along a short last axis."""
    total = block[:, 0] + block[:, 1]
    for channel in range(2, block.shape[1]):
        total += block[:, channel]
    return total * np.float32(1 / block.shape[1])


def _decibels(value: float) -> float:
    """Express a 16-bit amplitude in dB of full scale."""
    return 20 * math.log10(value / FULL_SCALE) if value > 0 else -math.inf
