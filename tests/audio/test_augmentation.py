"""Augmentation of recordings: determined by the generator, within the ranges of its fields, off by default."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from seqlab.audio.augmentation import Augmentation
from seqlab.audio.distortion import change_speed

ALL_CHANGES = Augmentation(
    speed=0.1,
    volume_db=6,
    noise_snr_db=(5, 20),
    noise_probability=0.5,
    room_probability=0.5,
    narrowband_probability=0.3,
    codec_probability=0.3,
    time_masks=2,
    frequency_masks=2,
)
SINGLE_CHANGES: list[dict[str, Any]] = [
    {"speed": 0.1},
    {"volume_db": 3},
    {"noise_probability": 1, "noise_snr_db": (10, 20)},
    {"room_probability": 1},
    {"narrowband_probability": 1},
    {"codec_probability": 1},
]


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def waveform(num_samples: int = 16000, seed: int = 7) -> np.ndarray:
    return generator(seed).normal(0, 0.1, num_samples).astype(np.float32)


def test_augmentation_is_off_by_default() -> None:
    samples, features = waveform(), torch.randn(100, 80)
    assert Augmentation().is_off
    np.testing.assert_array_equal(Augmentation().change_waveform(samples, 16000, generator()), samples)
    assert torch.equal(Augmentation().mask_features(features, generator()), features)
    unused = Augmentation(noise_snr_db=(5, 20), time_mask_frames=10, frequency_mask_bins=5)
    assert unused.is_off
    np.testing.assert_array_equal(unused.change_waveform(samples, 16000, generator()), samples)


@pytest.mark.parametrize("fields", SINGLE_CHANGES, ids=str)
def test_augmentations_do_not_modify_their_input(fields: dict[str, Any]) -> None:
    augmentation, samples = Augmentation(**fields), waveform()
    before = samples.copy()
    assert not augmentation.is_off
    results = [augmentation.change_waveform(samples, 16000, generator(seed)) for seed in range(6)]
    assert any(not np.array_equal(result, samples) for result in results)
    assert all(result.dtype == np.float32 for result in results)
    assert "speed" in fields or all(len(result) == len(samples) for result in results)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("fields", [{"time_masks": 1}, {"frequency_masks": 1}])
def test_masks_enable_augmentation(fields: dict[str, Any]) -> None:
    assert not Augmentation(**fields).is_off


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_generator_in_the_same_state_gives_the_same_result_in_any_thread(rate: int) -> None:
    samples, features = waveform(), torch.randn(100, 80)

    def augment(seed: int) -> tuple[np.ndarray, torch.Tensor]:
        rng = generator(seed)
        return ALL_CHANGES.change_waveform(samples, rate, rng), ALL_CHANGES.mask_features(features, rng)

    expected = [augment(seed) for seed in range(24)]
    assert len({result.tobytes() for result, _ in expected}) > 20
    with ThreadPoolExecutor(4) as threads:
        for seed, (changed, masked) in enumerate(threads.map(augment, range(24))):
            np.testing.assert_array_equal(changed, expected[seed][0])
            assert torch.equal(masked, expected[seed][1])


def test_only_the_speed_changes_the_length() -> None:
    lengths = set()
    for seed in range(40):
        samples = waveform(1000 + 37 * seed)
        factor = ALL_CHANGES.speed_factor(generator(seed))
        assert len(ALL_CHANGES.change_waveform(samples, 16000, generator(seed))) == len(change_speed(samples, factor))
        lengths.add(factor)
    assert lengths == {0.9, 1.0, 1.1}


def test_a_probability_is_a_share_of_the_recordings() -> None:
    samples = waveform(400)
    for name in ("room_probability", "noise_probability", "narrowband_probability", "codec_probability"):
        augmentation = Augmentation(noise_snr_db=(0, 5), **{name: 0.3})
        rng = generator()
        changed = sum(
            not np.array_equal(augmentation.change_waveform(samples, 16000, rng), samples) for _ in range(500)
        )
        assert 100 < changed < 200, name  # 150 expected, standard deviation 10


def test_random_values_stay_in_their_ranges() -> None:
    samples = waveform()
    noisy = Augmentation(noise_probability=1, noise_snr_db=(5, 15))
    loud = Augmentation(volume_db=6)
    snrs, gains = [], []
    for seed in range(60):
        added = noisy.change_waveform(samples, 16000, generator(seed)).astype(np.float64) - samples
        snrs.append(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) / np.mean(added**2)))
        changed = loud.change_waveform(samples, 16000, generator(seed))
        gains.append(20 * np.log10(np.std(changed) / np.std(samples)))
    for values, low, high in ((snrs, 5, 15), (gains, -6, 6)):
        assert low - 0.01 <= min(values) < low + 2
        assert high - 2 < max(values) <= high + 0.01


def test_narrowband_does_not_change_recordings_at_8_khz() -> None:
    samples = waveform()
    augmentation = Augmentation(narrowband_probability=1)
    np.testing.assert_array_equal(augmentation.change_waveform(samples, 8000, generator()), samples)


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_very_short_and_silent_recordings_can_be_augmented(length: int) -> None:
    for seed in range(30):
        for samples in (np.zeros(length, np.float32), waveform(length)):
            changed = ALL_CHANGES.change_waveform(samples, 16000, generator(seed))
            assert len(changed) == len(change_speed(samples, ALL_CHANGES.speed_factor(generator(seed))))
            assert np.isfinite(changed).all()
        masked = ALL_CHANGES.mask_features(torch.ones(length, 3), generator(seed))
        assert masked.shape == (length, 3)


def run_lengths(masked: np.ndarray) -> list[int]:
    """Return the lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.pad(masked.astype(int), 1)))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize(("num_frames", "longest"), [(1000, 40), (100, 20), (4, 0)])
def test_masks_cover_complete_frames_and_bands_up_to_their_maximum_width(num_frames: int, longest: int) -> None:
    augmentation = Augmentation(time_masks=1, frequency_masks=1, frequency_mask_bins=10)
    features = torch.rand(num_frames, 80) + 1
    before = features.clone()
    times, bands, starts = [], [], set()
    for seed in range(400):
        masked = augmentation.mask_features(features, generator(seed), fill=-2.5)
        is_masked = (masked == -2.5).numpy()
        frames, columns = is_masked.all(axis=1), is_masked.all(axis=0)
        assert (is_masked == (frames[:, None] | columns[None])).all()
        assert torch.equal(masked[~torch.from_numpy(is_masked)], features[~torch.from_numpy(is_masked)])
        times += run_lengths(frames) or [0]
        bands += run_lengths(columns) or [0]
        starts.update(np.flatnonzero(frames)[:1].tolist())
    assert torch.equal(features, before)
    assert (min(times), max(times)) == (0, longest)
    assert (min(bands), max(bands)) == (0, 10)
    assert np.mean(times) == pytest.approx(longest / 2, rel=0.15)
    assert np.mean(bands) == pytest.approx(5, rel=0.15)
    assert not longest or (min(starts) < 0.1 * num_frames and max(starts) > 0.8 * num_frames)


def test_several_masks_cover_more_and_narrow_features_can_be_masked_entirely() -> None:
    features = torch.ones(400, 8)
    shares = [
        np.mean([float((Augmentation(time_masks=n).mask_features(features, generator(seed)) == 0).float().mean())
                 for seed in range(50)])
        for n in (0, 1, 3)
    ]  # fmt: skip
    assert shares[0] == 0
    assert 2 < shares[2] / shares[1] < 3.5
    wide = Augmentation(frequency_masks=1, frequency_mask_bins=100)
    assert any(not wide.mask_features(features, generator(seed)).any() for seed in range(50))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"speed": -0.1}, "`speed` must be from 0 to 0.5, but is -0.1 instead"),
        ({"speed": 1}, "`speed` must be from 0 to 0.5"),
        ({"speed": float("nan")}, "`speed` must be"),
        ({"volume_db": -1}, "`volume_db` must be at least 0"),
        ({"volume_db": float("inf")}, "`volume_db` must be at least 0"),
        ({"room_probability": 1.5}, "`room_probability` must be from 0 to 1, but is 1.5 instead"),
        ({"noise_probability": 0.5}, "so `noise_snr_db` must be"),
        ({"noise_snr_db": (20, 5)}, "`noise_snr_db` must be .lowest, highest. in dB, but is .20, 5. instead"),
        ({"time_masks": -1}, "`time_masks` must be at least 0"),
        ({"frequency_masks": -1}, "`frequency_masks` must be at least 0"),
        ({"time_mask_frames": 0}, "`time_mask_frames` must be at least 1"),
        ({"frequency_mask_bins": 0}, "`frequency_mask_bins` must be at least 1"),
        ({"time_mask_share": 0}, "`time_mask_share` must be above 0"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**fields)
