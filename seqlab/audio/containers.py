"""Audio file headers: detection of the format, of truncated files, and of inconsistent headers.

libsndfile reads a truncated WAV, AIFF or Ogg file as a shorter recording, and accepts any sampling rate. The samples
would then not match the transcript. Therefore, this module detects truncated files and implausible sampling rates.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Literal

Fault = Literal[
    "missing", "unreadable", "empty", "truncated", "nan", "header", "longer", "shorter", "scale", "channels"
]
FAULTS_SINCE: Final[dict[Fault, int]] = {"longer": 2, "shorter": 2, "scale": 2, "channels": 2}
"""First version of the reading (`seqlab.base.reading_notes`) with a fault; earlier versions read such files."""

FAULTS: Final[dict[Fault, str]] = {
    "missing": "there is no such file",
    "unreadable": "not a readable recording",
    "empty": "an empty recording",
    "truncated": "a truncated recording",
    "nan": "a recording with values that are not numbers",
    "header": "a recording with a wrong header",
    "longer": "a recording that is longer than its header declares",
    "shorter": "a recording that is shorter than its header declares",
    "scale": "a recording with samples of another scale",
    "channels": "a recording whose channels cannot be mixed",
}

AUDIO_SUFFIXES: Final = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3"} | {".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
)
"""Lower-case suffixes of the supported audio files."""

MIN_RATE, MAX_RATE = 4_000, 384_000
"""Range of plausible sampling rates in Hz; any other rate is reported as a wrong header."""

HEAD_BYTES = 16
"""Number of bytes from the start of a file that `looks_like_audio` needs."""

MIRRORED_BYTES = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Translation table that reverses the bits of each byte."""
UNCOMPRESSED_WAV = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
"""WAV format tags with a fixed number of bytes per sample: PCM, float, A-law, mu-law, extensible."""


class RecordingError(ValueError):
    """Error for a recording that cannot be used; `fault` is a key of `FAULTS`."""

    def __init__(self, name: str, fault: Fault, detail: str) -> None:
        super().__init__(name, fault, detail)  # all arguments, so that the error can be pickled
        self.fault = fault

    def __str__(self) -> str:
        """Return the message: the file, the description of the fault, and the detail."""
        name, fault, detail = self.args
        return f"{name}: {FAULTS[fault]}: {detail}"


def looks_like_audio(path_or_head: str | Path | bytes) -> bool:
    """Return whether a file starts like WAV, FLAC, Ogg, mp3, AIFF, AU or CAF audio.

    Args:
        path_or_head: a path, or at least the first `HEAD_BYTES` bytes of a file.

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
    if head[:3] == b"ID3":  # text can start with these letters, but not with a version number after them
        return head[3] in (2, 3, 4)
    # The next byte is 0 apart from its highest bit: Ogg's version, the type of FLAC's first block, or the high byte of
    # a number below 2^24.
    has_magic_number = head[:4] in (b"OggS", b".snd", b"fLaC", b"caff") and head[4] & 0x7F == 0
    return has_magic_number or starts_with_mp3_frame(head)


def may_begin_audio(head: bytes) -> bool:
    """Return whether the first line of a file may be an incomplete audio header, so that more bytes must be read.

    A newline byte can occur in the size field of a WAV or AIFF file, and in the frame header of an mp3.
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        return len(head) < 12
    return head[:1] == b"\xff" and len(head) < 5


def starts_with_mp3_frame(head: bytes) -> bool:
    """Return whether bytes start with an MPEG layer III frame header; the byte order marks of UTF-16 do not."""
    has_sync = head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, rate = head[2] >> 4, head[2] >> 2 & 3
    return has_sync and version != 1 and layer == 1 and 0 < bit_rate < 15 and rate != 3


def check_container(stream: BinaryIO, name: str) -> int | None:
    """Check the header of a WAV, AIFF or Ogg file against its size; other formats are left to libsndfile.

    Returns:
        The offset of the size field of a WAV file's `data` chunk if that size is 0 although samples follow, else None.
        Programs that write to a pipe cannot fill in the size. libsndfile would read no samples from such a file.

    Raises:
        RecordingError: the file is shorter than its header declares or its Ogg pages are damaged ("truncated"), or its
            sampling rate is implausible ("header").
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        return _check_wav(stream, size, ">" if head[:4] == b"RIFX" else "<", name)
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        declared = struct.unpack(">I", head[4:8])[0]
        if not is_placeholder_size(declared) and declared + 8 > size:
            raise truncated_error(name, f"its header declares {declared + 8:,} bytes, but it has {size:,}.")
    if head[:4] == b"OggS":
        _check_ogg_pages(stream, name)
    return None


def truncated_error(name: str, detail: str) -> RecordingError:
    """Create the error of a truncated recording, with a remedy."""
    advice = "Copy or download it again, or leave it out."
    return RecordingError(name, "truncated", f"{detail} {advice}")


def check_rate(rate: int, name: str) -> None:
    """Raise RecordingError ("header") for an implausible sampling rate in Hz."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise RecordingError(
            name,
            "header",
            f"its sampling rate is {rate:,} Hz, but must be from {MIN_RATE:,} to {MAX_RATE:,} Hz. Write it again with "
            "its true rate, or leave it out.",
        )


def _check_wav(stream: BinaryIO, size: int, order: str, name: str) -> int | None:
    """Check the chunks of a RIFF file; see `check_container`."""
    span = _find_wav_data(stream, size, order, name)
    if span is None:
        return None
    position, length = span
    present = size - position
    if length == 0:
        stream.seek(position)
        return position - 4 if present and not _has_only_chunks(stream.read(), order) else None
    if not is_placeholder_size(length) and length > present:
        raise truncated_error(name, f"its header declares {length:,} bytes of samples, but it has {present:,}.")
    return None


def _find_wav_data(stream: BinaryIO, size: int, order: str, name: str) -> tuple[int, int] | None:
    """Return the position and the declared length of the samples of a RIFF file; None if it has no `data` chunk.

    Chunks are padded to an even number of bytes.
    """
    position, long_size = 12, 0
    while position + 8 <= size:
        stream.seek(position)
        kind, length = struct.unpack(f"{order}4sI", stream.read(8))
        if kind == b"data":
            is_long = length == 0xFFFFFFFF and long_size  # RF64 (EBU Tech 3306)
            return position + 8, long_size if is_long else length
        if not kind.isascii() or kind == bytes(4):
            return None  # not a chunk: libsndfile reports the error
        body = stream.read(min(length, 16))
        if kind == b"fmt " and len(body) == 16:
            _check_wav_format(struct.unpack(f"{order}HHIIHH", body), name)
        if kind == b"ds64" and len(body) == 16:
            long_size = struct.unpack(f"{order}QQ", body)[1]
        position += 8 + length + length % 2
    return None


def wav_data_end(stream: BinaryIO, size: int, order: str) -> int | None:
    """Return the position after the samples that a RIFF file declares; None if the declared length is a placeholder."""
    span = _find_wav_data(stream, size, order, "")
    if span is None or is_placeholder_size(span[1]):
        return None
    return sum(span)


def _check_wav_format(fields: tuple[int, ...], name: str) -> None:
    """Check the sampling rate of a `fmt ` chunk: its range, and its consistency with the bytes per second."""
    tag, _, rate, byte_rate, block_align, _ = fields
    check_rate(rate, name)
    if tag in UNCOMPRESSED_WAV and byte_rate != rate * block_align:
        raise RecordingError(
            name,
            "header",
            f"it declares {rate:,} samples per second of {block_align} bytes each, but {byte_rate:,} bytes per second. "
            "Write it again with its true rate, or leave it out.",
        )


def is_placeholder_size(size: int) -> bool:
    """Return whether a size is a placeholder, written before the number of samples was known.

    Placeholders are 0, and sizes at most 4 KiB below 2^31 or 2^32: SoX and espeak-ng write 0x7FFFF000, other programs
    0x7FFFFFFF or 0xFFFFFFFF.
    """
    return size == 0 or any(0 < limit - size <= 4096 for limit in (1 << 31, 1 << 32))


def _has_only_chunks(tail: bytes, order: str) -> bool:
    """Return whether the rest of a RIFF file consists of complete chunks."""
    position = 0
    while position + 8 <= len(tail):
        kind, length = struct.unpack_from(f"{order}4sI", tail, position)
        if not kind.isascii() or not kind.decode().isprintable():
            return False
        position += 8 + length + length % 2
    return position in (len(tail), len(tail) + 1)


def _check_ogg_pages(stream: BinaryIO, name: str) -> None:
    """Check that each page of an Ogg file is complete and has a valid checksum (RFC 3533, section 6).

    Decoders skip damaged pages silently. Other data after the end of a stream is allowed. A file may end after any
    page: recordings of live streams lack the end-of-stream flag.
    """
    stream.seek(0)
    content = stream.read()
    position, is_last_page = 0, False
    while position < len(content):
        if content[position : position + 5] != b"OggS\0":
            if is_last_page:
                return
            raise truncated_error(name, f"its Ogg stream is damaged at byte {position:,}.")
        num_segments = content[position + 26] if position + 27 <= len(content) else 255
        head = position + 27 + num_segments
        end = head + sum(content[position + 27 : head])
        if end > len(content) or head > len(content):
            raise truncated_error(name, "it ends within a page of its Ogg stream.")
        if struct.unpack_from("<I", content, position + 22)[0] != _ogg_checksum(content[position:end]):
            raise truncated_error(
                name, f"its Ogg stream is damaged after byte {position:,}: the checksum does not match."
            )
        is_last_page = bool(content[position + 5] & 4)
        position = end


def _ogg_checksum(page: bytes) -> int:
    """Compute the CRC-32 of an Ogg page: zlib's polynomial, most significant bit first, initial and final value 0."""
    blank = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blank.translate(MIRRORED_BYTES), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(MIRRORED_BYTES), "big")
