"""Damaged recordings: each fault is detected and named; unusual but valid files are read."""

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from seqlab.audio.reading import AUDIO_SUFFIXES, RecordingError, looks_like_audio, read_recording

SIGNAL = np.random.default_rng(5).normal(0, 0.1, 32000)


def encode(
    kind: str = "WAV", subtype: str = "PCM_16", samples: Any = SIGNAL, rate: int = 16000, **options: Any
) -> bytes:
    """Create the content of an audio file."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=kind, subtype=subtype, **options)
    return content.getvalue()


def replace_field(content: bytes, chunk: bytes, offset: int, value: int, layout: str = "<I") -> bytes:
    """Replace a number at an offset after the name of a chunk."""
    changed = bytearray(content)
    struct.pack_into(layout, changed, content.index(chunk) + offset, value)
    return bytes(changed)


def read_fault(content: bytes | Path, **options: Any) -> tuple[str, str]:
    with pytest.raises(RecordingError) as error:
        read_recording(content, 16000, **{"name": "take.wav", **options})
    assert str(error.value).startswith("take.wav: ")
    return error.value.fault, str(error.value)


def test_missing_files_and_folders_have_different_faults(tmp_path: Path) -> None:
    fault, message = read_fault(tmp_path / "gone.wav")
    assert fault == "missing"
    assert "no such file" in message
    fault, message = read_fault(tmp_path)
    assert fault == "unreadable"
    assert "Is a directory" in message


def test_errors_name_the_path_unless_given_a_name(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.write_bytes(b"")
    with pytest.raises(RecordingError, match=f"^{path}: an empty recording: the file has no bytes. Leave it out.$"):
        read_recording(path, 16000)


@pytest.mark.parametrize(
    "text",
    [
        "one two three\n" * 50,
        "x",
        '{"audio": "a.wav", "text": "drei Männer"}\n',
        "ID3 is a tag\n",
        "тест" * 200,
        "RIFF\n",
    ],
)
def test_errors_for_text_files_name_them_as_text(text: str) -> None:
    fault, message = read_fault(text.encode())
    assert fault == "unreadable"
    assert "looks like a text file" in message


def test_other_content_is_unreadable_and_errors_quote_soundfile() -> None:
    for content in (b"\x1f\x8b\x08\0" * 100, np.random.default_rng(1).bytes(5000)):
        fault, message = read_fault(content)
        assert fault == "unreadable"
        assert 'it does not start like an audio file (soundfile reports "' in message
        assert "for example by `ffmpeg -i IN OUT.flac`" in message


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("OGG", "VORBIS")])
def test_recordings_without_samples_are_empty(kind: str, subtype: str) -> None:
    fault, message = read_fault(encode(kind, subtype, np.zeros(0)))
    assert fault == "empty"
    assert "no samples" in message


def test_less_than_one_sample_is_empty() -> None:
    assert read_fault(encode(samples=np.ones(1), rate=48000))[0] == "empty"


def test_a_stream_without_samples_is_empty_with_and_without_a_chunk_after_them() -> None:
    header = encode(samples=np.zeros(0))
    assert read_fault(header)[0] == "empty"
    assert read_fault(header + b"LIST" + struct.pack("<I", 4) + b"INFO")[0] == "empty"


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_refused(subtype: str, value: float) -> None:
    samples = np.stack([SIGNAL, SIGNAL], axis=1)
    samples[24000:, 1][::7] = value
    fault, message = read_fault(encode("WAV", subtype, samples))
    assert fault == "nan"
    assert "the first one is at 1.500 seconds" in message
    assert "1.500 seconds" in read_fault(encode("WAV", subtype, samples), start=1.25)[1]
    assert len(read_recording(encode("WAV", subtype, samples), 16000, end=1.5).samples) == 24000


@pytest.mark.parametrize(
    ("kind", "subtype", "rate"),
    [
        ("WAV", "PCM_16", 16000),
        ("WAV", "GSM610", 8000),
        ("RF64", "PCM_16", 16000),
        ("AIFF", "PCM_16", 16000),
        ("FLAC", "PCM_16", 16000),
        ("OGG", "VORBIS", 16000),
        ("OGG", "OPUS", 16000),
        ("MP3", "MPEG_LAYER_III", 16000),
    ],
)
@pytest.mark.parametrize("share", [0.45, 0.6, 0.95])
def test_a_file_without_its_end_is_truncated(kind: str, subtype: str, rate: int, share: float) -> None:
    intact = encode(kind, subtype, rate=rate)
    read_recording(intact, 16000)
    fault, message = read_fault(intact[: int(share * len(intact))])
    assert fault == "truncated"
    assert "Copy or download it again" in message


@pytest.mark.parametrize(
    ("kind", "subtype", "location"),
    [
        ("FLAC", "PCM_16", r"after \d\.\d+ seconds"),
        ("MP3", "MPEG_LAYER_III", r"after \d\.\d+ seconds"),
        ("OGG", "VORBIS", r"after byte \d+"),
        ("OGG", "OPUS", r"after byte \d+"),
    ],
)
def test_damage_in_the_middle_is_found(kind: str, subtype: str, location: str) -> None:
    content = encode(kind, subtype)
    first, last = int(0.4 * len(content)), int(0.7 * len(content))
    fault, message = read_fault(content[:first] + bytes(last - first) + content[last:])
    assert fault == "truncated"
    assert re.search(location, message)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_each_bit_of_an_ogg_file_is_checked(subtype: str) -> None:
    content = encode("OGG", subtype)
    for byte in np.random.default_rng(3).integers(8, len(content), 50).tolist():
        changed = bytearray(content)
        changed[byte] ^= 1 << byte % 8
        assert read_fault(bytes(changed))[0] == "truncated"


def test_data_after_an_ogg_stream_is_allowed() -> None:
    content = encode("OGG", "VORBIS")
    tagged = read_recording(content + b"TAG" + bytes(125), 16000)
    np.testing.assert_array_equal(tagged.samples, read_recording(content, 16000).samples)


def test_the_intact_beginning_of_a_truncated_flac_can_be_read() -> None:
    intact = encode("FLAC")
    part = read_recording(intact[: len(intact) // 2], 16000, end=0.5)
    np.testing.assert_array_equal(part.samples, read_recording(intact, 16000, end=0.5).samples)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_streams_of_unknown_size_are_read_to_their_end(size: int, endian: str) -> None:
    content = encode(endian=endian)
    layout = "<I" if endian == "LITTLE" else ">I"
    stream = replace_field(replace_field(content, b"data", 4, size, layout), b"RIF", 4, size, layout)
    np.testing.assert_array_equal(read_recording(stream, 16000).samples, read_recording(content, 16000).samples)


def test_a_wave_file_may_have_chunks_before_and_after_its_samples() -> None:
    content = encode()
    chunk = b"LIST" + struct.pack("<I", 5) + b"INFO.\0"  # of an odd size, padded
    data = content.index(b"data")
    expected = read_recording(content, 16000).samples
    found = read_recording(content[:data] + chunk + content[data:] + chunk, 16000).samples
    np.testing.assert_array_equal(found, expected)
    assert read_fault(content[:data] + chunk + content[data:-2])[0] == "truncated"


@pytest.mark.parametrize("rate", [1, 3999, 384001, 2**31 - 1])
@pytest.mark.parametrize("kind", ["WAV", "AU"])
def test_implausible_sampling_rates_are_refused(kind: str, rate: int) -> None:
    fault, message = read_fault(encode(kind, rate=rate))
    assert fault == "header"
    assert f"its sampling rate is {rate:,} Hz, but must be from 4,000 to 384,000 Hz" in message


@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_24", 2), ("FLOAT", 2), ("ULAW", 1)])
def test_contradictory_byte_rates_are_refused(subtype: str, channels: int) -> None:
    content = encode("WAV", subtype, np.stack([SIGNAL] * channels, axis=1))
    read_recording(content, 16000)
    fault, message = read_fault(replace_field(content, b"fmt ", 12, 8000))  # the original rate
    assert fault == "header"
    assert "8,000 samples per second of" in message
    assert read_fault(replace_field(content, b"fmt ", 16, 12345))[0] == "header"


def test_a_flac_without_its_length_is_refused() -> None:
    content = bytearray(encode("FLAC"))
    content[21] &= 0xF0  # the 36 bits of the number of samples in STREAMINFO
    content[22:26] = bytes(4)
    fault, message = read_fault(bytes(content))
    assert fault == "header"
    assert "does not declare its number of samples" in message


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS")]
)
def test_truncated_files_and_changed_headers_are_read_or_refused(kind: str, subtype: str, tmp_path: Path) -> None:
    rng, path = np.random.default_rng(2), tmp_path / "a"
    content = encode(kind, subtype, SIGNAL[:2000])
    for length in [*range(1, 60), *rng.integers(60, len(content), 20).tolist()]:
        path.write_bytes(content[:length])
        assert read_fault(path)[0] in ("unreadable", "empty", "truncated")
    faults = set()
    for _ in range(200):
        changed = bytearray(content)
        changed[int(rng.integers(0, 80))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            read_recording(path, 16000)
        except RecordingError as error:
            faults.add(error.fault)
    assert faults <= {"unreadable", "empty", "truncated", "header", "longer", "channels"}


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "GSM610"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
    ],
)
def test_audio_is_recognized_by_its_first_bytes(kind: str, subtype: str, tmp_path: Path) -> None:
    content = encode(kind, subtype, rate=8000)
    assert looks_like_audio(content[:16])
    (tmp_path / "a").write_bytes(content)
    assert looks_like_audio(tmp_path / "a")
    assert looks_like_audio(str(tmp_path / "a"))


def test_an_mp3_with_a_tag_is_recognized() -> None:
    assert looks_like_audio(b"ID3\x03\x00\x00\x00\x00\x10\x00" + bytes(20))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"OggS",
        b"OggS is the name of a container",
        b"fLaC and RIFF",
        b"RIFF\x24\x00\x00\x00AVI LIST",
        b"ID3 tags come first",
        b"FORMula for WAVE",
        "one".encode("utf-16"),
        b"\xff\xff\xff\xff\xff\xff",
        b"\xff\xfe\x41\x00\x42\x00",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
        "ÿûÿ".encode(),
        b'{"audio": "a.wav"}',
    ],
)
def test_other_files_are_not_recognized_as_audio(head: bytes) -> None:
    assert not looks_like_audio(head)


def test_suffixes_are_in_lower_case_with_a_dot() -> None:
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3"} <= AUDIO_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in AUDIO_SUFFIXES)


APPENDED = [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]


@pytest.mark.parametrize(("kind", "subtype"), [*APPENDED, ("MP3", "MPEG_LAYER_III")])
def test_several_appended_files_are_refused(kind: str, subtype: str) -> None:
    one, other = encode(kind, subtype), encode(kind, subtype, SIGNAL[::-1])
    fault, message = read_fault(one + other)
    assert fault == "longer"
    is_compressed = kind in ("FLAC", "OGG", "MP3")
    assert (f"its header declares {len(one):,} bytes, and {len(other):,} more follow" in message) != is_compressed
    assert (f"a second recording starts after byte {len(one):,}." in message) == is_compressed
    if kind in ("AU", "FLAC", "OGG", "MP3"):  # libsndfile reads the first one only
        expected = read_recording(one, 16000).samples
        np.testing.assert_array_equal(read_recording(one + other, 16000, reading=1).samples, expected)


@pytest.mark.parametrize("rest", [bytes(500), b"TAG" + bytes(125), b"ID3\4\0" + bytes(100), b"LIST\x05"])
@pytest.mark.parametrize(("kind", "subtype"), [*APPENDED[2:], ("WAV", "PCM_16"), ("MP3", "MPEG_LAYER_III")])
def test_tags_and_zeros_after_a_recording_are_allowed(kind: str, subtype: str, rest: bytes) -> None:
    content = encode(kind, subtype)
    samples = read_recording(content + rest, 16000).samples
    np.testing.assert_array_equal(samples, read_recording(content, 16000).samples)


def test_samples_beyond_the_declared_length_are_refused() -> None:
    for content in (replace_field(encode(), b"data", 4, 8000), replace_field(encode("AU"), b".snd", 8, 8000, ">I")):
        assert read_fault(content)[0] == "longer"
        assert len(read_recording(content, 16000, reading=1).samples) == 4000
    assert read_fault(replace_field(encode("AU"), b".snd", 8, 80000, ">I"))[0] == "shorter"


def test_a_missing_byte_after_an_odd_number_of_samples_is_allowed() -> None:
    content = encode("WAV", "PCM_U8", SIGNAL[:801])
    padded = content if len(content) % 2 == 0 else content + b"\0"
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    for start in (padded, padded[:-1]):
        assert len(read_recording(start + chunk, 16000).samples) == 801
