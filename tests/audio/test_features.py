"""Log-mel features, compared with librosa and numpy; independence of blocks, types and threads."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from seqlab.audio import features as features_module
from seqlab.audio.codec import RECORDING_CODEC_FILE, RecordingCodec, load_recording_codec
from seqlab.audio.features import LOG_FLOOR, LogMel
from seqlab.audio.waveform import to_float, to_int16

SETTINGS = [
    LogMel(8000),
    LogMel(16000),
    LogMel(16000, num_mels=40, window_ms=32, hop_ms=16),
    LogMel(22050, num_mels=64, low_hz=60, high_hz=7600),
    LogMel(48000, num_mels=128, window_ms=20, hop_ms=5, low_hz=0),
]


def speech_like(num_samples: int, seed: int = 1) -> np.ndarray:
    """Return noise with a changing level: float32 (n,)."""
    rng = np.random.default_rng(seed)
    envelope = 10 ** rng.uniform(-3, -0.5, 1 + num_samples // 800).repeat(800)[:num_samples]
    return (rng.normal(0, 1, num_samples) * envelope).astype(np.float32)


@pytest.mark.parametrize("log_mel", SETTINGS, ids=str)
def test_features_are_the_logarithm_of_librosas_mel_spectrogram(log_mel: LogMel) -> None:
    samples = speech_like(3 * log_mel.rate + 77)
    # librosa centers the window within the FFT's samples, so pad before and after
    before = (log_mel.num_fft - log_mel.min_samples) // 2
    padded = np.pad(samples, (before, log_mel.num_fft - log_mel.min_samples - before))
    energies = librosa.feature.melspectrogram(
        y=padded.astype(np.float64),
        sr=log_mel.rate,
        n_fft=log_mel.num_fft,
        win_length=log_mel.min_samples,
        hop_length=log_mel.hop,
        window="hann",
        center=False,
        power=2,
        n_mels=log_mel.num_mels,
        fmin=log_mel.low_hz,
        fmax=log_mel.highest,
        htk=False,
        norm="slaney",
    )
    found = log_mel(samples)
    assert found.dtype == torch.float32
    assert found.shape == (log_mel.num_frames(len(samples)), log_mel.num_mels)
    np.testing.assert_allclose(found.numpy(), np.log(np.maximum(energies.T, LOG_FLOOR)), atol=2e-4)


def test_one_frame_agrees_with_the_definition() -> None:
    log_mel = LogMel(16000, num_mels=20)
    samples = speech_like(400).astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    angles = -2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512
    power = np.abs(np.exp(angles) @ (samples * window)) ** 2
    filters = librosa.filters.mel(sr=16000, n_fft=512, n_mels=20, fmin=20, fmax=8000)
    np.testing.assert_allclose(log_mel(samples)[0].numpy(), np.log(filters @ power), atol=1e-4)


@pytest.mark.parametrize("log_mel", SETTINGS, ids=str)
def test_number_of_frames_counts_complete_windows(log_mel: LogMel) -> None:
    window, hop = log_mel.min_samples, log_mel.hop
    for length in [0, 1, window - 1, window, window + 1, window + hop - 1, window + hop, 10 * hop + window, 12345]:
        starts = [first for first in range(0, length, hop) if first + window <= length]
        assert log_mel.num_frames(length) == len(starts)
        assert log_mel(np.zeros(length, np.int16)).shape == (len(starts), log_mel.num_mels)


def test_every_type_of_samples_gives_the_same_features(tmp_path: Path) -> None:
    integers, log_mel = to_int16(speech_like(9000)), LogMel(16000)
    expected = log_mel(integers)
    np.save(tmp_path / "a.npy", integers)
    others: list[Any] = [
        np.load(tmp_path / "a.npy", mmap_mode="r"),  # read-only
        to_float(integers),
        to_float(integers).astype(np.float64),
        torch.from_numpy(integers),
        torch.from_numpy(to_float(integers)),
        integers[::-1].copy()[::-1],  # a view with a negative stride
    ]
    for other in others:
        assert torch.equal(log_mel(other), expected)
    assert integers.tolist() == np.load(tmp_path / "a.npy").tolist()


def test_silence_has_the_log_floor_and_full_scale_is_finite() -> None:
    log_mel = LogMel(16000)
    assert torch.equal(log_mel(np.zeros(1000, np.int16)), torch.full((4, 80), LOG_FLOOR).log())
    assert log_mel(np.full(1000, -32768, np.int16)).isfinite().all()


def test_twice_the_amplitude_is_four_times_the_energy() -> None:
    samples, log_mel = speech_like(16000), LogMel(16000)
    torch.testing.assert_close(
        log_mel(samples * 2) - log_mel(samples), torch.full((98, 80), np.log(4.0)), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("hz", [200, 1000, 3000, 7000])
def test_a_tone_is_in_its_band(hz: float) -> None:
    log_mel = LogMel(16000)
    samples = 0.3 * np.sin(2 * np.pi * hz * np.arange(16000) / 16000)
    centers = librosa.mel_frequencies(82, fmin=20, fmax=8000)[1:-1]
    bands = log_mel(samples).argmax(dim=1)
    assert (np.abs(centers[bands.numpy()] - hz) <= 0.05 * hz + 20).all()


def test_a_click_is_in_the_frames_near_its_time() -> None:
    log_mel = LogMel(16000)
    samples = np.zeros(16000)
    samples[8000] = 1
    energies = log_mel(samples).exp().sum(dim=1)
    assert log_mel.frame_time(int(energies.argmax())) == pytest.approx(0.5, abs=0.005)
    loud_frames = (energies > 2 * energies[0]).nonzero()[:, 0].tolist()
    assert all(abs(log_mel.frame_time(frame) - 0.5) <= 0.0125 for frame in loud_frames)
    assert log_mel.frame_time(0) == 0.0125


def test_features_have_no_artifacts_at_block_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, log_mel = speech_like(16000 * 13), LogMel(16000)
    found = log_mel(samples)
    assert len(found) > 2 * features_module.FEATURE_BLOCK_FRAMES
    for frame in (0, 511, 512, 513, 1023, 1024, len(found) - 1):
        expected = log_mel(samples[frame * 160 : frame * 160 + 400])
        torch.testing.assert_close(found[frame], expected[0], rtol=0, atol=1e-4)
    monkeypatch.setattr(features_module, "FEATURE_BLOCK_FRAMES", 10**9)
    torch.testing.assert_close(log_mel(samples), found, rtol=0, atol=1e-4)


def test_features_do_not_depend_on_other_recordings_or_threads() -> None:
    log_mel = LogMel(16000)
    recordings = [speech_like(n, seed=n) for n in (400, 3001, 90000, 16000)]
    expected = [log_mel(samples) for samples in recordings]
    jobs = [0, 3, 2, 1, 1, 2, 3, 0, 2] * 5
    with ThreadPoolExecutor(4) as threads:
        for i, found in zip(jobs, threads.map(lambda i: log_mel(recordings[i]), jobs), strict=True):
            assert torch.equal(found, expected[i])
    assert torch.equal(LogMel(16000)(recordings[1]), expected[1])


def test_features_can_be_trained_on_after_a_call_in_inference_mode() -> None:
    log_mel = LogMel(16000, num_mels=33)  # settings that no other test has cached
    with torch.inference_mode():
        log_mel(speech_like(1000))
    weight = torch.ones(33, requires_grad=True)
    (log_mel(speech_like(1000)) @ weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 0}, "`rate` must be above 0, but is 0 instead"),
        ({"num_mels": 0}, "`num_mels` must be above 0"),
        ({"window_ms": float("nan")}, "`window_ms` must be above 0"),
        ({"hop_ms": 0.01}, "`window_ms` and `hop_ms` must be at least 2 samples and 1 sample"),
        ({"low_hz": 9000}, "`low_hz` < `high_hz` <= 8000"),
        ({"high_hz": 8001}, "`high_hz` is 8001"),
        ({"low_hz": -1}, "`low_hz` is -1"),
        ({"num_mels": 256}, "`num_mels` is 256, .* decrease `num_mels`, or increase `window_ms`"),
    ],
)
def test_invalid_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(**{"rate": 16000, **fields})


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 1000), np.float32), np.zeros(1000, np.int32), torch.zeros(1000).half()]
)
def test_arrays_of_other_shapes_and_types_are_refused(samples: Any) -> None:
    with pytest.raises(ValueError, match="must have one dimension and type int16, float32 or float64, but has shape"):
        LogMel(16000)(samples)


def spoken(rng: np.random.Generator) -> np.ndarray:
    """Return half a second of a varying sound, with silence at both ends."""
    time = np.arange(4000) / 8000
    sound = np.sin(2 * np.pi * (300 + 400 * time) * time) * np.hanning(4000) + rng.normal(0, 0.01, 4000)
    return 0.3 * np.concatenate([np.zeros(1000), sound, np.zeros(1000)])


def test_features_of_equal_level_depend_on_neither_level_nor_offset() -> None:
    log_mel = LogMel(8000, 40, equal_level=True)
    sound = spoken(np.random.default_rng(1))
    expected = log_mel(sound)
    for changed in (sound * 10**-1.5, sound * 3, sound + 0.3, sound / 2 - 0.2):
        torch.testing.assert_close(log_mel(changed), expected, atol=2e-3, rtol=0)
    sixteen_bits = np.rint(sound * 10**-1.5 * 32768).astype(np.int16)
    loud = expected > np.log(1e-4)
    torch.testing.assert_close(log_mel(sixteen_bits)[loud], expected[loud], atol=0.1, rtol=0)
    assert not torch.allclose(LogMel(8000, 40)(sound * 10**-1.5), LogMel(8000, 40)(sound), atol=1)


def test_the_level_of_a_recording_depends_on_neither_silence_nor_clicks() -> None:
    log_mel = LogMel(8000, 40, equal_level=True)
    sound = spoken(np.random.default_rng(1))
    padded = np.concatenate([np.zeros(24000), sound])
    torch.testing.assert_close(log_mel(padded)[300:], log_mel(sound), atol=1e-4, rtol=0)
    clicked = np.concatenate([np.zeros(7999), [1.0], sound])
    assert (log_mel(clicked)[100:] - log_mel(sound)).abs().max() < np.log(2)


@pytest.mark.parametrize("sound", [np.zeros(8000), np.full(8000, 0.3), np.eye(1, 8000, 4000)[0], np.zeros(200)])
def test_features_of_equal_level_are_finite_for_any_recording(sound: np.ndarray) -> None:
    assert torch.isfinite(LogMel(8000, 40, equal_level=True)(sound)).all()


def test_a_codec_without_levels_is_that_of_an_older_run(tmp_path: Path) -> None:
    """The codec of a run up to version 0.3.0 has neither `level` nor `trims_silence`."""
    sizes = {"sample_rate": 8000, "num_bands": 40, "window_ms": 25.0, "hop_ms": 10.0, "normalise": "none"}
    (tmp_path / RECORDING_CODEC_FILE).write_text(json.dumps(sizes | {"means": [], "deviations": []}), "utf-8")
    sound = spoken(np.random.default_rng(1))
    torch.testing.assert_close(load_recording_codec(tmp_path).frames(sound), LogMel(8000, 40)(sound), atol=0, rtol=0)


def test_silence_at_the_ends_is_trimmed_where_there_are_no_times() -> None:
    codec = RecordingCodec(8000, 40, 25.0, 10.0, "none", level="equal", trims_silence=True)
    sound = spoken(np.random.default_rng(1))
    expected = codec.frames(sound)
    assert len(expected) < codec.num_frames(len(sound))
    for before, after in ((8000, 0), (24000, 800), (0, 16000)):
        padded = np.concatenate([np.zeros(before), sound, np.zeros(after)])
        torch.testing.assert_close(codec.frames(padded), expected, atol=1e-4, rtol=0)
    assert len(codec.frames(np.zeros(8000))) == codec.num_frames(8000)
