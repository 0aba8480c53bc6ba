"""Decoding recordings: formats, rates, channels and segments, compared with soundfile and known signals."""

import io
import itertools
import math
import os
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from seqlab.audio import reading
from seqlab.audio.reading import Recording, RecordingError, read_recording, to_float, to_int16
from seqlab.audio.waveform import resample, resampled_length

FORMATS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("WAV", "GSM610"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


def encode(samples: Any, rate: int, kind: str = "WAV", subtype: str = "PCM_16", endian: str = "FILE") -> bytes:
    """Create the content of an audio file."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=kind, subtype=subtype, endian=endian)
    return content.getvalue()


def tone(hz: float, rate: int, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def noise(num_samples: int, channels: int = 1, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (num_samples, channels))


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_each_format_is_decoded_like_soundfile(kind: str, subtype: str, tmp_path: Path) -> None:
    signal = tone(440, 8000, 1.6) + noise(12800)[:, 0] / 10
    content = encode(signal, 8000, kind, subtype)
    path = tmp_path / "recording"  # the suffix does not matter
    path.write_bytes(content)
    with soundfile.SoundFile(io.BytesIO(content)) as sound:
        expected = np.clip(np.rint(sound.read(sound.frames, dtype="float64") * 32768), -32768, 32767)
    for source in (path, str(path), content):
        recording = read_recording(source, 8000)
        assert (recording.rate, recording.source_rate, recording.channels) == (8000, 8000, 1)
        assert recording.samples.dtype == np.int16
        np.testing.assert_array_equal(recording.samples, expected)
    assert recording.duration == pytest.approx(1.6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_tone_keeps_frequency_level_and_phase(rate: int) -> None:
    recording = read_recording(encode(tone(1000, rate, 2), rate), 16000)
    assert len(recording.samples) == 32000
    # without the margins, where the resampling filter includes the silence outside, the same sine at 16 kHz
    inner = slice(1600, -1600)
    difference = to_float(recording.samples)[inner] - tone(1000, 16000, 2)[inner]
    assert np.abs(difference).max() < 3e-4


def test_resampling_suppresses_frequencies_above_the_new_nyquist_frequency() -> None:
    recording = read_recording(encode(tone(9500, 44100, 1), 44100), 16000)
    assert np.abs(recording.samples[1600:-1600]).max() <= 1  # without the filter, an alias at 6.5 kHz


def test_long_recordings_have_no_artifacts_at_block_boundaries() -> None:
    signal = noise(3 * (1 << 18) + 1234, 2)
    recording = read_recording(encode(signal, 44100, "WAV", "FLOAT"), 16000)
    expected = soxr.resample(signal.astype(np.float32).mean(axis=1), 44100, 16000, quality="HQ")
    np.testing.assert_allclose(recording.samples, np.rint(expected * 32768), atol=1)


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_samples_do_not_depend_on_the_block_size(kind: str, subtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = 8000 if subtype in ("GSM610", "OPUS") else 22050
    content = encode(noise(7 * rate), rate, kind, subtype)
    expected = read_recording(content, 16000).samples
    monkeypatch.setattr(reading, "READ_BLOCK_FRAMES", 1000)
    np.testing.assert_array_equal(read_recording(content, 16000).samples, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_channels_are_averaged(channels: int) -> None:
    signal = noise(5000, channels)
    recording = read_recording(encode(signal, 16000, "WAV", "FLOAT"), 16000)
    assert recording.channels == channels
    np.testing.assert_allclose(recording.samples, np.rint(signal.mean(axis=1) * 32768), atol=1)


def test_values_beyond_full_scale_are_clipped_and_halves_rounded() -> None:
    values = np.array([-2, -1, -0.6 / 32768, 0, 0.4 / 32768, 0.6 / 32768, 32767.4 / 32768, 1, 1.5], np.float32)
    expected = [-32768, -32768, -1, 0, 0, 1, 32767, 32767, 32767]
    assert to_int16(values).tolist() == expected
    content = encode(values, 16000, "WAV", "FLOAT")
    assert read_recording(content, 16000, reading=1).samples.tolist() == expected
    all_values = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_int16(to_float(all_values)), all_values)


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_a_segment_has_the_samples_of_the_full_recording(kind: str, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    # after a seek to one of ten positions in this Vorbis file, libsndfile returns different samples
    channels = 1 if subtype == "GSM610" else 2
    path.write_bytes(encode(noise(24000, channels), 8000, kind, subtype))
    full = read_recording(path, 8000).samples
    drawn = np.sort(np.random.default_rng(4).uniform(0, 3, (60, 2)), axis=1)
    for start, end in [(0, 1), (2, None), (2.0001, 2.01), *map(tuple, drawn.tolist())]:
        part = read_recording(path, 8000, start=start, end=end)
        expected = full[round(start * 8000) : None if end is None else round(end * 8000)]
        np.testing.assert_array_equal(part.samples, expected)


def test_a_segment_is_cut_before_it_is_resampled() -> None:
    content = encode(noise(48000), 48000)
    part = read_recording(content, 16000, start=0.25, end=0.5)
    assert len(part.samples) == 4000
    decoded = soundfile.read(io.BytesIO(content), dtype="float32")[0][12000:24000]
    np.testing.assert_array_equal(part.samples, to_int16(resample(decoded, 48000, 16000)))


def test_a_segment_may_end_slightly_after_the_recording() -> None:
    content = encode(noise(16000), 16000)
    assert len(read_recording(content, 16000, start=0.5, end=1.4).samples) == 8000
    for start, end in [(0.5, 1.6), (1.0, 1.2), (3.0, None)]:
        with pytest.raises(RecordingError, match=r"has 1.000 seconds.*segment is from .* Correct the segment") as error:
            read_recording(content, 16000, start=start, end=end)
        assert error.value.fault == "truncated"
    with pytest.raises(RecordingError, match=r"segment from 0.5 to 0.50001 seconds has no samples") as error:
        read_recording(content, 16000, start=0.5, end=0.50001)
    assert error.value.fault == "empty"


@pytest.mark.parametrize(("start", "end"), [(-1, None), (2, 1), (1, 1), (math.nan, None), (0, math.nan), (0, math.inf)])
def test_invalid_segments_are_refused(start: float, end: float | None) -> None:
    with pytest.raises(ValueError, match=r"take.wav: a segment must have 0 <= start < end"):
        read_recording(encode(noise(16000), 16000), 16000, name="take.wav", start=start, end=end)


def test_a_rate_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="`rate` must be from 4000 to 384000, but is 16 instead"):
        read_recording(b"", 16)


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("FLAC", "PCM_16")])
def test_samples_do_not_depend_on_earlier_or_parallel_reads(kind: str, subtype: str) -> None:
    contents = [encode(noise(22050 * 3, channels, seed=channels), 22050, kind, subtype) for channels in (1, 2)]
    contents += [encode(tone(300, 44100, 2), 44100, kind, subtype)]
    expected = [read_recording(content, 16000).samples for content in contents]
    orders = list(itertools.permutations(range(3))) * 3
    for order in orders:
        for i in order:
            np.testing.assert_array_equal(read_recording(contents[i], 16000).samples, expected[i])
    with ThreadPoolExecutor(4) as threads:
        jobs = [i for order in orders for i in order]
        for i, samples in zip(
            jobs, threads.map(lambda i: read_recording(contents[i], 16000).samples, jobs), strict=True
        ):
            np.testing.assert_array_equal(samples, expected[i])


def test_recordings_are_silent_up_to_an_amplitude_of_32() -> None:
    assert read_recording(encode(np.zeros(800), 8000), 8000).is_silent
    for amplitude, is_silent in [(1, True), (32, True), (33, False), (-33, False), (-32768, False)]:
        samples = np.zeros(800, np.int16)
        samples[5] = amplitude
        assert Recording(samples, 8000, 8000, 1, 0.0).is_silent == is_silent


@pytest.mark.parametrize(
    ("values", "clipped"),
    [
        ([0, 32767, 0, -32768, 0], 0),  # single peaks
        ([0, 32767, 32767, 0, 0], 2 / 5),
        ([-32768, -32768, -32768, 32767, 0], 3 / 5),  # the fourth has another sign
        ([32767, 0, 0, 32767, 32767], 2 / 5),
        ([32766, 32766, 0, 0, 0], 0),
        ([32767], 0),
    ],
)
def test_clipped_share_counts_runs_at_full_scale(values: list[int], clipped: float) -> None:
    assert read_recording(encode(np.array(values, np.int16), 16000), 16000).clipped == clipped
    # in one of two channels, and across the boundary of two blocks, which is after sample 2^18
    stereo = np.zeros(((1 << 18) + 100, 2), np.int16)
    stereo[(1 << 18) - 2 :, 1][: len(values)] = values
    recording = read_recording(encode(stereo, 16000), 16000)
    assert recording.clipped == pytest.approx(clipped * len(values) / stereo.size, abs=1e-12)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW"])
def test_clipped_share_is_counted_for_each_sample_format(subtype: str) -> None:
    signal = np.clip(tone(50, 16000, 1, amplitude=2), -1, 1)
    share = np.mean(np.abs(signal) == 1)
    loud, soft = (encode(scale * signal, 16000, "WAV", subtype) for scale in (1, 0.9))
    assert read_recording(loud, 16000).clipped == pytest.approx(share, abs=0.02)
    assert read_recording(soft, 16000).clipped == 0


def test_resampled_length_agrees_with_resample() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        length = int(rng.integers(1, 3000))
        source_rate, rate = (int(r) for r in rng.choice([8000, 11025, 12345, 16000, 22050, 44100, 48000], 2))
        found = len(resample(np.zeros(length, np.float32), source_rate, rate))
        assert found == resampled_length(length, source_rate, rate)
        assert abs(found - length * rate / source_rate) <= 0.5


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    content = encode(noise(4000), 8000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[content])
    writer.start()
    np.testing.assert_array_equal(read_recording(pipe, 8000).samples, read_recording(content, 8000).samples)
    writer.join()


def test_errors_can_be_pickled() -> None:
    with pytest.raises(RecordingError) as error:
        read_recording("gone.wav", 8000)
    copy = pickle.loads(pickle.dumps(error.value))
    assert (str(copy), copy.fault) == (str(error.value), "missing")


def test_errors_name_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ValueError, match=r"package soundfile.*pip install 'seqlab\[audio\]'"):
        read_recording(encode(noise(10), 8000), 8000)


SPEECH = tone(440, 8000) * np.hanning(8000)


def fault_of(content: bytes, **options: Any) -> str:
    with pytest.raises(RecordingError) as error:
        read_recording(content, 8000, **options)
    return error.value.fault


@pytest.mark.parametrize("gain", [-1, -0.9])
def test_channels_that_cancel_are_a_fault(gain: float) -> None:
    content = encode(np.stack([SPEECH, gain * SPEECH], 1) + 0.1, 8000)
    assert fault_of(content) == "channels"
    for channel, scale in (("1", 1), ("2", gain), ("Left", 1), ("B", gain)):
        samples = read_recording(content, 8000, channel=channel).samples
        np.testing.assert_allclose(samples / 32768, scale * SPEECH + 0.1, atol=1e-4)
    assert abs(read_recording(content, 8000, reading=1).samples / 32768 - 0.1).max() < 0.03


@pytest.mark.parametrize("other", [0 * SPEECH, SPEECH, noise(8000)[:, 0]])
def test_channels_that_do_not_cancel_are_averaged(other: np.ndarray) -> None:
    samples = read_recording(encode(np.stack([SPEECH, other], 1), 8000), 8000).samples
    np.testing.assert_allclose(samples / 32768, (SPEECH + other) / 2, atol=1e-4)


def test_channels_that_do_not_exist_are_a_fault() -> None:
    stereo, mono = encode(np.stack([SPEECH, SPEECH], 1), 8000), encode(SPEECH, 8000)
    assert {fault_of(stereo, channel=name) for name in ("0", "3", "BBC News")} == {"channels"}
    assert fault_of(mono, channel="2") == "channels"
    for name in ("", "1", "BBC News"):  # a broadcaster is no channel of the file
        assert read_recording(mono, 8000, channel=name).channels == 1


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floats_beyond_full_scale_are_scaled_or_refused(subtype: str) -> None:
    expected = read_recording(encode(SPEECH, 8000), 8000).samples.astype(float)
    loud = read_recording(encode(SPEECH * 6, 8000, "WAV", subtype), 8000)
    assert (loud.is_scaled, loud.clipped) == (True, 0)
    np.testing.assert_allclose(loud.samples * (expected.max() / loud.samples.max()), expected, atol=2)
    assert fault_of(encode(SPEECH * 32768, 8000, "WAV", subtype)) == "scale"
    assert read_recording(encode(SPEECH * 32768, 8000, "WAV", subtype), 8000, reading=1).clipped > 0.9


def test_silence_with_a_constant_offset_is_silent() -> None:
    assert read_recording(encode(np.full(800, 0.3), 8000), 8000).is_silent
    assert not read_recording(encode(SPEECH + 0.3, 8000), 8000).is_silent
