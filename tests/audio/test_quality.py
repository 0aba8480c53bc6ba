"""Warnings of recordings that are too quiet for their format or noisy, and background that changes no features."""

import io
import itertools
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from seqlab.audio.channels import MeanOfChannels
from seqlab.audio.codec import RecordingCodec, fit_recording_codec
from seqlab.audio.quality import (
    PeakCounter,
    background_db,
    count_values,
    has_sound,
    share_at_peak,
    usual_background_db,
)
from seqlab.audio.reading import Recording
from seqlab.inference.recording_waveforms import read_waveforms
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig

RATE = 8000
SOUND = 0.5 * np.sin(np.arange(RATE // 2) * np.linspace(0.5, 1.5, RATE // 2)) * np.hanning(RATE // 2)


def encode(samples: np.ndarray, subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="WAV", subtype=subtype)
    return content.getvalue()


def noise(seconds: float, level_db: float, seed: int = 1) -> np.ndarray:
    """Return white noise; `level_db` is relative to the loudest 50 ms of `SOUND`."""
    power = np.convolve(SOUND**2, np.ones(RATE // 20) / (RATE // 20), "valid").max()
    sigma = np.sqrt(power) * 10 ** (level_db / 20)
    return np.random.default_rng(seed).normal(0, sigma, round(seconds * RATE))


def to_int16(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples * 32768).astype(np.int16)


def warnings_of(*recordings: Any, **options: Any) -> dict[int, str]:
    warnings: dict[int, str] = {}
    assert not any(isinstance(each, str) for each in read_waveforms(recordings, RATE, warnings=warnings, **options))
    return warnings


@pytest.mark.parametrize(
    "few",
    [
        encode(SOUND * 0.05, "PCM_U8"),
        encode(np.rint(SOUND * 6) / 128),  # converted from 8 bits
        encode(np.rint(SOUND * 6) / 128 * 16, "FLOAT"),  # converted and amplified
        encode(np.rint(SOUND * 6) / 128, rate=16000),
        encode(np.stack([np.rint(SOUND * 6) / 128] * 2, 1)),
        encode(SOUND * 10 ** (-65 / 20), "PCM_24"),  # samples are rounded to 16 bits
        (np.rint(SOUND * 6) / 128, RATE),
        (to_int16(np.rint(SOUND * 6) / 128), RATE),
    ],
)
def test_a_sound_with_few_sample_values_has_a_warning(few: Any) -> None:
    """The rounding to 8 bits of a quiet recording is a noise that changes answers; 0.3.0 gave no message."""
    found = warnings_of(few, encode(SOUND), encode(SOUND, "PCM_U8"), encode(SOUND * 0.01), encode(SOUND, "ULAW"))
    assert list(found) == [0]
    assert "recording 1: it is too quiet for its sample format: it has only " in found[0]
    assert "too quiet" not in " ".join(warnings_of(encode(SOUND * 0)).values())


def test_different_values_are_counted_over_blocks() -> None:
    values = np.arange(60_000) // 5000
    assert count_values(values) == 12
    assert count_values(np.arange(100)) == 25  # at most one more than the limit


@pytest.mark.parametrize("level", [-20.0, -40.0])
def test_the_level_of_a_background_is_relative_to_the_sound(level: float) -> None:
    before, after = np.concatenate([noise(0.5, level), SOUND]), np.concatenate([SOUND, noise(0.3, level)])
    for samples in (before, after, before * 0.1, before + 0.3, np.concatenate([before, noise(0.3, -50)])):
        found = background_db(to_int16(samples), RATE)
        assert found == pytest.approx(level, abs=1)
    assert background_db(to_int16(SOUND), RATE) is None  # it begins and ends with a rise


def test_a_loud_background_has_a_warning_unless_it_is_usual_in_training() -> None:
    samples = np.concatenate([noise(0.5, -20), SOUND])
    assert warnings_of((samples, RATE), (SOUND, RATE), max_background_db=-25) == {
        0: "recording 1: its background is loud: 20 dB below its sound"
    }
    assert not warnings_of((samples, RATE), max_background_db=-15)
    steady = 0.3 * np.sin(np.arange(RATE))
    assert not warnings_of((steady, RATE), max_background_db=-25)  # a sound, not a background
    noisy, config = [to_int16(samples)] * 5, RecordingLabelsConfig(train=["x"], sample_rate=RATE, num_bands=24)
    for others, expected in ((200, -25), (5, -20)):
        recordings = [*noisy[:1], *[to_int16(SOUND)] * others] if others == 200 else noisy + [to_int16(SOUND)] * others
        codec = fit_recording_codec(config, recordings, has_times=False)
        assert codec.max_background_db(-25) == pytest.approx(expected, abs=1)
    assert usual_background_db([], RATE) is None


@pytest.mark.parametrize("level", [-30.0, -20.0, -12.0])
@pytest.mark.parametrize("is_before", [True, False])
def test_a_steady_background_at_an_end_changes_no_frames(level: float, is_before: bool) -> None:
    """Labels of quiet speech depended on noise before or after it."""
    codec = RecordingCodec(RATE, 24, 25.0, 10.0, "none", level="equal", trims_silence=True)
    background = noise(1.0 + len(SOUND) / RATE, level)
    start = RATE if is_before else 0
    background[start : start + len(SOUND)] += SOUND
    frames, expected = codec.frames(to_int16(background)), codec.frames(to_int16(SOUND))
    assert abs(len(frames) - len(expected)) <= 12
    loud = [each.logsumexp(1) for each in (frames, expected)]
    torch.testing.assert_close(*(each[each > -1] for each in loud), rtol=0, atol=0.15)


def test_consonants_are_no_background() -> None:
    """A fricative of 0.2 s before a vowel is a part of the word, and so is a sound that grows slowly."""
    codec = RecordingCodec(RATE, 24, 25.0, 10.0, "none", level="equal", trims_silence=True)
    slow = np.concatenate([noise(0.6, -6) * np.linspace(0.1, 1, round(0.6 * RATE)), SOUND])
    for samples in (np.concatenate([noise(0.2, -20), SOUND]), slow, noise(1.0, 0)):
        whole = codec.log_mel(to_int16(samples))
        assert len(whole) - len(codec.frames(to_int16(samples))) <= 8


def mean_of(*channels: np.ndarray) -> bytes:
    return encode(np.stack(channels, 1))


@pytest.mark.parametrize("limit", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
def test_clipping_below_full_scale_has_a_warning(subtype: str, limit: float) -> None:
    """A program that clips and then lowers the level leaves flat peaks at any level: 55 of 100 labels were wrong."""
    clipped = np.clip(SOUND * 20, -1, 1) * limit
    found = warnings_of(encode(clipped, subtype), encode(SOUND * limit, subtype), (clipped, RATE))
    assert {0, 2} == {index for index, text in found.items() if "of its samples are clipped" in text}


def test_samples_at_the_peak_are_counted_in_runs() -> None:
    clipped = np.minimum(SOUND * 4, 0.3)
    runs = [len(list(run)) for is_peak, run in itertools.groupby(clipped == 0.3) if is_peak]
    assert share_at_peak(clipped) == pytest.approx(sum(size for size in runs if size > 1) / len(clipped))
    assert share_at_peak(np.full(8, 0.3)) == 0
    counter = PeakCounter()
    for block in (np.zeros(1 << 18), clipped):
        counter.add(block)
    assert counter.share() == 0  # a short part of a long recording


def test_a_peak_that_training_leaves_out_as_silent_has_a_warning() -> None:
    """Down to -72 dB there is an answer, which may be wrong."""
    scale = 1 / np.abs(SOUND).max()
    for level, has_warning in ((-55, False), (-61, True), (-66, True)):
        samples = SOUND * scale * 10 ** (level / 20)
        assert Recording(to_int16(samples), RATE, RATE, 1, 0.0).is_silent == has_warning
        assert has_sound(to_int16(samples))
        assert bool(warnings_of(encode(samples))) == has_warning
    assert not has_sound(to_int16(SOUND * scale * 10 ** (-73 / 20)))
    assert not has_sound(np.zeros(8, np.int16), reading=1)
    assert has_sound(np.array([0, 1, 0], np.int16), reading=1)


@pytest.mark.parametrize(
    "other",
    [
        noise(0.5, -3),  # as loud as the sound
        np.roll(SOUND, 4),  # 0.5 ms later
        np.roll(SOUND, 400),
        0.3 * noise(0.5, 3),
    ],
)
def test_channels_that_differ_have_a_warning(other: np.ndarray) -> None:
    """The mean of a voice and noise, or a delayed voice, is not what is heard: up to 208 of 300 labels were wrong."""
    different = mean_of(SOUND, other[: len(SOUND)])
    stereo = mean_of(SOUND + noise(0.5, -25), 0.8 * SOUND + noise(0.5, -25, seed=2))
    found = warnings_of(different, stereo, mean_of(SOUND, 0 * SOUND), mean_of(SOUND, 0.3 * SOUND + 0.1), encode(SOUND))
    assert list(found) == [0]
    assert "name one by `--channel 1`, or confirm the mean of all by `--channel mean`" in found[0]
    for channel in ("left", "mean"):
        assert "channels" not in warnings_of(different, channel=channel).get(0, "")
    assert "channels differ" in warnings_of((np.stack([SOUND, other[: len(SOUND)]], 1), RATE))[0]


def test_the_correlation_of_channels_is_that_of_numpy() -> None:
    first, second = SOUND + 0.1, np.roll(SOUND, 3) + noise(0.5, -6) - 0.2
    mixer = MeanOfChannels()
    for start in range(0, len(SOUND), 1000):
        mixer.mix(np.stack([first, second], 1)[start : start + 1000].astype(np.float32))
    assert mixer.correlation() == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-5)
