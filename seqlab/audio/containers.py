"""Headers of audio files: recognize formats by their first bytes, and find files that are cut off or contradictory.

libsndfile reads a WAV, AIFF or Ogg file that lacks its end as if it were whole, only shorter, and takes any sampling
rate. For training, such a recording no longer fits its transcript, so both are found here.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Literal

Fault = Literal["missing", "unreadable", "empty", "truncated", "nan", "header"]

FAULTS: Final[dict[Fault, str]] = {
    "missing": "there is no such file",
    "unreadable": "not a readable recording",
    "empty": "an empty recording",
    "truncated": "a truncated recording",
    "nan": "a recording with values that are not numbers",
    "header": "a recording with a wrong header",
}

AUDIO_SUFFIXES: Final = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3"} | {".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
)
"""Suffixes, in lower case, of the audio files that can be read."""

MIN_RATE, MAX_RATE = 4_000, 384_000
"""Sampling rates in Hz outside of which a header is taken to be wrong."""

HEAD_BYTES = 16
"""The number of first bytes that `looks_like_audio` needs."""

MIRRORED_BYTES = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
UNCOMPRESSED_WAV = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
"""WAV format tags with a fixed number of bytes a sample: PCM, float, A-law, mu-law, extensible."""


class RecordingError(ValueError):
    """A recording that cannot be used; `fault` says why, in one of the words of `FAULTS`."""

    def __init__(self, name: str, fault: Fault, detail: str) -> None:
        super().__init__(name, fault, detail)  # as they are, so that the error can be pickled
        self.fault = fault

    def __str__(self) -> str:
        """Name the file, the fault, and what to do."""
        name, fault, detail = self.args
        return f"{name}: {FAULTS[fault]}: {detail}"


def looks_like_audio(path_or_head: str | Path | bytes) -> bool:
    """Recognize audio by the first bytes of a file: WAV, FLAC, Ogg, mp3, AIFF, AU or CAF.

    Takes a path, or the first `HEAD_BYTES` bytes or more.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(path_or_head, bytes):
        head = path_or_head
    else:
        with Path(path_or_head).open("rb") as file:
            head = file.read(HEAD_BYTES)
    if len(head) < 5:
        return False
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return head[8:12] == b"WAVE"
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC")
    if head[:3] == b"ID3":  # a text may start with these letters, but not with the number of a version after them
        return head[3] in (2, 3, 4)
    # the byte after the letters: the version of Ogg, the type of FLAC's first block, a number below 2^24
    is_named = head[:4] in (b"OggS", b".snd", b"fLaC", b"caff") and head[4] & 0x7F == 0
    return is_named or _is_mp3_frame(head)


def may_begin_audio(head: bytes) -> bool:
    """Tell whether the first lines of a file are too short to tell a recording from a text: more bytes decide.

    A header may hold the byte that ends a line, in the size of a WAV or AIFF file, or in the frame of an mp3.
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        return len(head) < 12
    return head[:1] == b"\xff" and len(head) < 5


def _is_mp3_frame(head: bytes) -> bool:
    """Recognize the header of an MPEG audio frame of layer III; the marks of UTF-16 text are none."""
    has_sync = head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, rate = head[2] >> 4, head[2] >> 2 & 3
    return has_sync and version != 1 and layer == 1 and 0 < bit_rate < 15 and rate != 3


def check_container(stream: BinaryIO, name: str) -> int | None:
    """Compare the header of a WAV, AIFF or Ogg file with the file; other formats are left to libsndfile.

    Returns the offset of a WAV file's `data` size where that is 0 although samples follow, else None. libsndfile would
    read no samples there: the file was written as a stream, so that its size was not known.

    Raises:
        RecordingError: the file is shorter than its header says or its Ogg pages are damaged ("truncated"), or its rate
            is not plausible ("header").
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        return _check_wav(stream, size, ">" if head[:4] == b"RIFX" else "<", name)
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        declared = struct.unpack(">I", head[4:8])[0]
        if not _is_placeholder(declared) and declared + 8 > size:
            raise truncated(name, f"its header announces {declared + 8:,} bytes, but it has {size:,}.")
    if head[:4] == b"OggS":
        _check_ogg_pages(stream, name)
    return None


def truncated(name: str, detail: str) -> RecordingError:
    """Describe a recording that lacks its end, with what to do."""
    advice = "Copy or download it again, or leave it out."
    return RecordingError(name, "truncated", f"{detail} {advice}")


def check_rate(rate: int, name: str) -> None:
    """Raise RecordingError ("header") for a sampling rate in Hz that no recording of speech has."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise RecordingError(
            name,
            "header",
            f"it says {rate:,} samples a second, but must say {MIN_RATE:,} to {MAX_RATE:,}. Write it again with its "
            "true rate, or leave it out.",
        )


def _check_wav(stream: BinaryIO, size: int, order: str, name: str) -> int | None:
    """Walk the chunks of a RIFF file (a size is followed by that many bytes, padded to an even number)."""
    position, long_size = 12, 0
    while position + 8 <= size:
        stream.seek(position)
        kind, length = struct.unpack(f"{order}4sI", stream.read(8))
        if kind == b"data":
            break
        if not kind.isascii() or kind == bytes(4):
            return None  # not a chunk: libsndfile says what is wrong
        body = stream.read(min(length, 16))
        if kind == b"fmt " and len(body) == 16:
            _check_wav_format(struct.unpack(f"{order}HHIIHH", body), name)
        if kind == b"ds64" and len(body) == 16:
            long_size = struct.unpack(f"{order}QQ", body)[1]
        position += 8 + length + length % 2
    else:
        return None
    present = size - position - 8
    if length == 0xFFFFFFFF and long_size:  # RF64 (EBU Tech 3306)
        length = long_size
    if length == 0:
        return position + 4 if present and not _are_chunks(stream, position + 8, size, order) else None
    if not _is_placeholder(length) and length > present:
        raise truncated(name, f"its header announces {length:,} bytes of samples, but it has {present:,}.")
    return None


def _check_wav_format(fields: tuple[int, ...], name: str) -> None:
    """Check the rate in a `fmt ` chunk against the range of rates and against the bytes a second."""
    tag, _, rate, byte_rate, block_align, _ = fields
    check_rate(rate, name)
    if tag in UNCOMPRESSED_WAV and byte_rate != rate * block_align:
        raise RecordingError(
            name,
            "header",
            f"it says {rate:,} samples a second of {block_align} bytes each, but {byte_rate:,} bytes a second: one of "
            "them is wrong. Write it again with its true rate, or leave it out.",
        )


def _is_placeholder(size: int) -> bool:
    """Recognize the size that programs write into a header before they know it.

    That is 0, or a number at most 4 KiB below 2^31 or 2^32: SoX and espeak-ng write 0x7FFFF000, others 0x7FFFFFFF or
    0xFFFFFFFF.
    """
    return size == 0 or any(0 < limit - size <= 4096 for limit in (1 << 31, 1 << 32))


def _are_chunks(stream: BinaryIO, position: int, size: int, order: str) -> bool:
    """Tell whether the rest of a RIFF file consists of chunks that end where the file does."""
    while position + 8 <= size:
        stream.seek(position)
        kind, length = struct.unpack(f"{order}4sI", stream.read(8))
        if not kind.isascii() or not kind.decode().isprintable():
            return False
        position += 8 + length + length % 2
    return position in (size, size + 1)


def _check_ogg_pages(stream: BinaryIO, name: str) -> None:
    """Check that each page of an Ogg file is whole and has its checksum (RFC 3533, section 6).

    Decoders skip damaged pages without a word. What follows the end of a stream and is no page is left alone, and a
    file that ends between two pages passes, also without the mark of an end: recordings of live streams lack it.
    """
    stream.seek(0)
    content = stream.read()
    position, is_at_end = 0, False
    while position < len(content):
        if content[position : position + 5] != b"OggS\0":
            if is_at_end:
                return
            raise truncated(name, f"its Ogg stream is damaged at byte {position:,}.")
        num_parts = content[position + 26] if position + 27 <= len(content) else 255
        head = position + 27 + num_parts
        end = head + sum(content[position + 27 : head])
        if end > len(content) or head > len(content):
            raise truncated(name, "it ends within a page of its Ogg stream.")
        if struct.unpack_from("<I", content, position + 22)[0] != _ogg_checksum(content[position:end]):
            raise truncated(name, f"its Ogg stream is damaged after byte {position:,}: the checksum is another one.")
        is_at_end = bool(content[position + 5] & 4)
        position = end


def _ogg_checksum(page: bytes) -> int:
    """Compute the CRC-32 of an Ogg page: zlib's polynomial, but most significant bit first, from 0, not inverted."""
    blank = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blank.translate(MIRRORED_BYTES), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(MIRRORED_BYTES), "big")
