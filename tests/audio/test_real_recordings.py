"""Reading real recordings; needs `SEQLAB_DATA`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqlab.audio.augmentation import Augmentation
from seqlab.audio.features import LogMel
from seqlab.audio.reading import RecordingError, looks_like_audio, read_recording, to_float

FOLDER = Path(os.environ.get("SEQLAB_DATA", ""))
FILE_PATTERNS = {"fillets_nl": "*/*.ogg", "asterisk_prompts": "en/**/*.flac", "fsdd": "*.wav"}


def some_files(name: str, count: int = 12) -> list[Path]:
    """Return files of a corpus, spread over all of them, or skip the test."""
    paths = sorted((FOLDER / name).glob(FILE_PATTERNS[name])) if os.environ.get("SEQLAB_DATA") else []
    if not paths:
        pytest.skip(f"SEQLAB_DATA has no {name}")
    return paths[:: max(1, len(paths) // count)]


@pytest.mark.parametrize("name", FILE_PATTERNS)
def test_recordings_are_read_completely(name: str) -> None:
    for path in some_files(name):
        recording = read_recording(path, 16000)
        info = soundfile.info(path)
        assert looks_like_audio(path)
        assert (recording.source_rate, recording.channels) == (info.samplerate, info.channels)
        assert recording.duration == pytest.approx(info.duration, abs=1e-4)
        frames = LogMel(16000)(recording.samples)
        assert frames.isfinite().all()
        # the level of speech varies: in most bands, the loudest frame is far above the softest one
        assert recording.is_silent or (frames.amax(dim=0) - frames.amin(dim=0)).median() > 3


@pytest.mark.parametrize("name", ["asterisk_prompts", "fsdd"])
def test_recordings_at_8_khz_are_read_exactly(name: str) -> None:
    for path in some_files(name):
        np.testing.assert_array_equal(read_recording(path, 8000).samples, soundfile.read(path, dtype="int16")[0])


def test_durations_agree_with_the_manifest() -> None:
    some_files("asterisk_prompts")
    folder = FOLDER / "asterisk_prompts" / "fr"
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[::100]:
        entry = json.loads(line)
        assert read_recording(folder / entry["audio"], 16000).duration == pytest.approx(entry["duration"], abs=0.01)


def test_errors_name_empty_files_of_a_real_corpus() -> None:
    paths = some_files("fillets_nl", count=10**6)
    empty = [path for path in paths if soundfile.info(path).frames == 0]
    assert len(empty) == 2
    for path in empty:
        with pytest.raises(RecordingError, match=path.name) as error:
            read_recording(path, 16000)
        assert error.value.fault == "empty"


def test_segments_of_real_ogg_files_have_the_samples_of_the_full_recording() -> None:
    rng = np.random.default_rng(1)
    for path in some_files("fillets_nl", 30):
        full = read_recording(path, 22050).samples
        seconds = len(full) / 22050
        start, end = sorted(rng.uniform(0, seconds, 2).tolist())
        part = read_recording(path, 22050, start=start, end=end).samples
        np.testing.assert_array_equal(part, full[round(start * 22050) : round(end * 22050)])


def test_augmented_real_speech_is_finite_with_a_similar_level() -> None:
    augmentation = Augmentation(
        speed=0.1, volume_db=6, noise_snr_db=(10, 20), noise_probability=1, room_probability=1, codec_probability=1
    )
    for path in some_files("fsdd"):
        samples = to_float(read_recording(path, 8000).samples)
        changed = augmentation.change_waveform(samples, 8000, np.random.default_rng(1))
        assert 0.1 < np.std(changed) / np.std(samples) < 4
        assert LogMel(8000)(changed).isfinite().all()
