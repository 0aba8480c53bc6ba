"""Detection of audio files that are longer than their headers declare, such as several files in one.

libsndfile reads the samples that the header declares, and ignores all others.
"""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO

from seqlab.audio.containers import (
    RecordingError,
    is_placeholder_size,
    looks_like_audio,
    starts_with_mp3_frame,
    wav_data_end,
)

METADATA = re.compile(rb"\x00?(?!RIFF|RIFX|FORM|fLaC|OggS)(?:[A-Za-z][A-Za-z0-9_ ]{3}|TAG|ID3)")
"""Start of metadata after the samples: the name of a chunk or tag, possibly after a byte that pads the samples."""
FLAC_HEADER = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
XING_HEADER = re.compile(rb"(?:Xing|Info)\x00\x00\x00[\x00-\x0f]")
"""Start of the header of an mp3 with the number of its frames and bytes: the name and flags."""
MAX_XING_POSITION = 64
"""Maximum position of that header after the start of the audio."""


def check_length(stream: BinaryIO, name: str) -> None:
    """Check that a WAV, AIFF, AU, FLAC, Ogg or mp3 file has no samples after those that its header declares.

    Tags, metadata and zeros after the samples are allowed.

    Raises:
        RecordingError: there are more samples ("longer"), or an AU file has fewer ("shorter").
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(12)
    end, is_compressed = None, False
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        end = wav_data_end(stream, size, ">" if head[:4] == b"RIFX" else "<")
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        declared = struct.unpack(">I", head[4:8])[0]
        end = None if is_placeholder_size(declared) else 8 + declared
    elif head[:4] == b".snd":
        end = _au_end(head, size, name)
    elif looks_like_audio(head):
        stream.seek(0)
        is_compressed = True
        end = _compressed_end(stream.read())
    if end is not None and end < size:
        stream.seek(end)
        if _has_samples(stream.read()):
            more = f"its header declares {end:,} bytes, and {size - end:,} more follow: are several files appended?"
            second = f"a second recording starts after byte {end:,}."
            raise RecordingError(
                name,
                "longer",
                f"{second if is_compressed else more} Write each recording into a file of its own, with its true "
                "length in the header.",
            )


def _au_end(head: bytes, size: int, name: str) -> int | None:
    """Return the end of the samples of an AU file; raise RecordingError if it is after the end of the file."""
    first, length = struct.unpack(">II", head[4:12])
    if is_placeholder_size(length):
        return None
    if first + length > size:
        text = f"its header declares {length:,} bytes of samples, but it has {size - first:,}. Copy it again."
        raise RecordingError(name, "shorter", text)
    return int(first + length)


def _compressed_end(content: bytes) -> int | None:
    """Return the position at which a second FLAC, Ogg or mp3 recording starts, or None."""
    if content[:4] == b"fLaC":
        second = FLAC_HEADER.search(content, 8)
        return None if second is None else second.start()
    if content[:4] == b"OggS":
        return _second_ogg_stream(content)
    first = _end_of_id3(content, 0)
    header = XING_HEADER.search(content, first, first + MAX_XING_POSITION)
    if header is None or not content[header.start() + 7] & 2:
        return None
    position = header.end() + (4 if content[header.start() + 7] & 1 else 0)
    end = first + int(struct.unpack_from(">I", content, position)[0])
    second_frame = content[_end_of_id3(content, end) :][:5]
    return end if len(second_frame) == 5 and starts_with_mp3_frame(second_frame) else None


def _end_of_id3(content: bytes, position: int) -> int:
    """Return the end of the ID3v2 tag at a position; the position itself if there is none."""
    if content[position : position + 3] != b"ID3" or len(content) < position + 10:
        return position
    size = 0
    for byte in content[position + 6 : position + 10]:
        size = size << 7 | byte & 0x7F
    return position + 10 + size


def _second_ogg_stream(content: bytes) -> int | None:
    """Return the position of a page that starts a stream after the end of another one, or None."""
    position, has_ended = 0, False
    while content[position : position + 4] == b"OggS":
        flags, num_segments = content[position + 5], content[position + 26]
        if has_ended and flags & 2:
            return position
        has_ended = has_ended or bool(flags & 4)
        head = position + 27 + num_segments
        position = head + sum(content[position + 27 : head])
    return None


def _has_samples(tail: bytes) -> bool:
    """Return whether the rest of a file is more than zeros, tags and chunks of metadata."""
    if not tail.strip(b"\0"):
        return False
    return METADATA.match(tail) is None
