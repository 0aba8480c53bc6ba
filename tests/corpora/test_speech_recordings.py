"""Manifests, WAV files and background noise of speech corpora; errors name the file and line."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seqlab.corpora.recordings import (
    MAX_PEAK,
    GeneratedRecording,
    add_background,
    read_manifest,
    read_wav,
    scale_to_int16,
    write_recordings,
    write_wav,
)


def test_generated_recordings_are_read_by_soundfile_unchanged(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="pip install 'seqlab[audio]'")
    samples = np.array([0, 1, -1, 32767, -32768, 5], dtype=np.int16)
    manifests = write_recordings(
        tmp_path, {"train": [GeneratedRecording(samples, {"text": "é", "speaker": "a"})]}, 16_000
    )
    assert json.loads(manifests["train"].read_text()) == {
        "audio": "recordings/train-00000.wav",
        "text": "é",
        "speaker": "a",
        "duration": round(6 / 16_000, 4),
    }
    found, rate = soundfile.read(tmp_path / "recordings/train-00000.wav", dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(found, samples)
    assert read_manifest(manifests["train"])[0]["audio"] == str(tmp_path / "recordings/train-00000.wav")


def test_a_failed_write_leaves_no_manifest(tmp_path: Path) -> None:
    good = GeneratedRecording(np.zeros(3, np.int16), {"text": "a"})
    write_recordings(tmp_path, {"train": [good], "test": [good]}, 8_000)

    def fail() -> Iterator[GeneratedRecording]:
        yield good
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_recordings(tmp_path, {"train": [good], "test": fail()}, 8_000)
    assert list(tmp_path.glob("*.jsonl")) == []


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ('{"audio": "a.wav"', ValueError, r"m\.jsonl:2: not JSON"),
        ('{"audio": "a.wav"}', ValueError, r"m\.jsonl:2: must be a JSON object with the strings `audio` and `text`"),
        ('["a.wav"]', ValueError, r"m\.jsonl:2: must be a JSON object"),
        ('{"audio": "b.wav", "text": ""}', FileNotFoundError, r"m\.jsonl:2: there is no file .*b\.wav"),
    ],
)
def test_errors_name_invalid_lines_of_a_manifest(tmp_path: Path, line: str, error: type, message: str) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "text": "a\u2028b"}\n' + line + "\n")
    with pytest.raises(error, match=message):
        read_manifest(tmp_path / "m.jsonl")


def test_other_kinds_of_wav_files_are_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(4, np.int16), 16_000)
    with pytest.raises(ValueError, match=r"a\.wav must have 8000 Hz.*but has 16000 Hz, 1 channels and 16 bits instead"):
        read_wav(tmp_path / "a.wav", 8_000)
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"b\.wav is not a readable WAV file"):
        read_wav(tmp_path / "b.wav", 8_000)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 40.0])
@pytest.mark.parametrize("num_samples", [1, 2, 4_097])
def test_noise_has_the_requested_snr_over_the_signal_without_its_silence(snr_db: float, num_samples: int) -> None:
    signal = np.zeros(3 * num_samples)
    signal[num_samples : 2 * num_samples] = 0.1 * (-1.0) ** np.arange(num_samples)
    noise = add_background(signal, snr_db, np.random.default_rng(1)) - signal
    assert 10 * np.log10(0.1**2 / np.mean(noise**2)) == pytest.approx(snr_db, abs=1e-6)


def test_only_loud_waveforms_are_scaled_down() -> None:
    loud, soft = np.array([2.0, -4.0, 0.0]), np.array([0.5, -0.25])
    np.testing.assert_allclose(scale_to_int16(loud) / 32767, loud * MAX_PEAK / 4, atol=1 / 32767)
    np.testing.assert_allclose(scale_to_int16(soft) / 32767, soft, atol=1 / 32767)
