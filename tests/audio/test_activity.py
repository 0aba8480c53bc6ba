"""Detection of frames with sound, for backgrounds of different levels."""

import numpy as np
import pytest

from seqlab.audio.features import MAX_BRIDGED_FRAMES, LogMel, active_frames

RATE = 8000


def draw_bursts(
    rng: np.random.Generator, parts: list[tuple[float, bool]], snr_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw noise with louder parts; return the samples, and a mask of these parts."""
    is_loud = np.concatenate([np.full(int(seconds * RATE), loud) for seconds, loud in parts])
    sound = rng.normal(size=len(is_loud)) * 0.2 * is_loud
    background = rng.normal(size=len(is_loud)) * 0.2 * 10 ** (-snr_db / 20)
    return (sound + background).astype(np.float32), is_loud


@pytest.mark.parametrize("snr_db", [15, 30, 60])
@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_frames_with_sound_are_active(snr_db: float, gain: float) -> None:
    rng, mel = np.random.default_rng(1), LogMel(RATE, 40)
    samples, is_loud = draw_bursts(rng, [(0.4, False), (0.5, True), (0.3, False), (0.2, True), (0.6, False)], snr_db)
    found = active_frames(mel(samples * gain))
    times = (np.array([mel.frame_time(frame) for frame in range(len(found))]) * RATE).astype(int)
    window = mel.min_samples // 2
    for frame, time in enumerate(times):
        loud_in_window = is_loud[max(0, time - window) : time + window]
        if loud_in_window.all() or not loud_in_window.any():
            assert found[frame] == loud_in_window.all(), (frame, time / RATE)


def test_a_short_pause_is_bridged() -> None:
    rng, mel = np.random.default_rng(2), LogMel(RATE, 40)
    samples, _ = draw_bursts(rng, [(0.5, False), (0.3, True), (0.06, False), (0.3, True), (0.5, False)], 40)
    found = np.flatnonzero(active_frames(mel(samples)))
    assert (np.diff(found) == 1).all()
    samples, _ = draw_bursts(
        rng, [(0.5, False), (0.3, True), (0.05 + MAX_BRIDGED_FRAMES / 100, False), (0.3, True)], 40
    )
    assert (np.diff(np.flatnonzero(active_frames(mel(samples)))) > 1).any()


def test_all_frames_are_active_if_levels_hardly_differ() -> None:
    mel = LogMel(RATE, 40)
    assert active_frames(mel(np.random.default_rng(3).normal(size=RATE).astype(np.float32))).all()
    assert active_frames(mel(np.zeros(RATE, np.float32))).all()
    assert not len(active_frames(mel(np.zeros(10, np.float32))))
