"""Recognizers and labelers of recordings that an earlier version started: they read files as it did."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recording_labels.test_labels import tiny_config as labels_config
from reference.tiny_runs import assert_equal_runs, started_by_version_1, with_training
from system.conftest import run_in_process

import seqlab
from seqlab.audio.waveform import to_int16
from seqlab.runs.config import Config
from seqlab.tasks.transcription.transcriber import Transcriber
from seqlab.training import train

from .conftest import RATE, synthesize, tiny_config, write_corpus

SCALED = "1 recordings with floats beyond [-1, 1] were divided by their peak (the first: {}, line 3)"


@pytest.fixture
def older(trained: Path, tmp_path: Path) -> Path:
    """Copy the trained recognizer, as if version 0.3.0 had trained it."""
    run = shutil.copytree(trained, tmp_path / "older")
    started_by_version_1(run)
    return run


def test_an_older_recognizer_reads_recordings_as_before(older: Path, tmp_path: Path) -> None:
    """0.3.0 clipped floats, averaged channels that cancel, and ignored `offset`, `duration` and `channel`."""
    rng = np.random.default_rng(5)
    sound = synthesize("abc cab", rng)
    loud = np.clip(sound * 12, -3.5, 3.5)
    soundfile.write(tmp_path / "loud.wav", loud, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "cancels.wav", np.stack([sound, -sound], 1), RATE)
    soundfile.write(tmp_path / "part.wav", np.stack([sound, np.zeros_like(sound)], 1), RATE)
    rows = [{"audio": "loud.wav"}, {"audio": "cancels.wav"}]
    rows.append({"audio": "part.wav", "offset": 0.3, "duration": 0.2, "channel": 2})
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    status, done = run_in_process("transcribe", older, "--input", tmp_path / "list.jsonl", "--device", "cpu")
    recognizer = seqlab.load(older, device="cpu")
    before = [to_int16(np.clip(loud, -1, 1)), np.zeros(len(sound), np.int16), to_int16(sound * 0.5)]
    expected = [each.text for each in recognizer.transcribe_waveforms(before)]
    assert done.stdout.decode().splitlines() == expected
    assert expected[1] == ""
    assert expected[2] != ""
    assert "cancel" not in done.stderr.decode()
    assert status == 3  # the first one is clipped, which has a warning since


def test_an_older_recognizer_normalizes_texts_as_before(older: Path) -> None:
    """0.3.0 deleted punctuation between letters."""
    sound = (synthesize("ab c", np.random.default_rng(6)), RATE)
    recognizer = seqlab.load(older, device="cpu", precision="fp32")
    punctuated, joined = recognizer.score([sound, sound], ["ab:c", "abc"])
    assert punctuated == joined


def write_list_with_a_loud_recording(folder: Path) -> str:
    """Write recordings, of which the third one is a file of floats with a peak of 2."""
    path = Path(write_corpus(folder, "train", 12, 1))
    samples, _ = soundfile.read(folder / "train_002.wav")
    soundfile.write(folder / "train_002.wav", samples * (2 / np.abs(samples).max()), RATE, subtype="FLOAT")
    return str(path)


def config_of(task: str, manifest: str, max_steps: int) -> Config:
    if task == "transcription":
        return tiny_config(manifest, max_steps=max_steps, save_every=2, valid_every=2)
    config = labels_config(manifest, max_steps=max_steps, text_column="speaker")
    return with_training(config, save_every=2, valid_every=2)


@pytest.mark.parametrize("task", ["transcription", "recording_labels"])
def test_resuming_an_older_run_is_refused_if_recordings_are_read_differently(task: str, tmp_path: Path) -> None:
    manifest = write_list_with_a_loud_recording(tmp_path / "data")
    run = train(config_of(task, manifest, 2), tmp_path / "run")
    longer = config_of(task, manifest, 4)
    train(longer, shutil.copytree(run, tmp_path / "current"))
    started_by_version_1(run)
    before = (run / "run.json").read_bytes()
    with pytest.raises(ValueError, match="read some of its data differently") as error:
        train(longer, run)
    assert SCALED.format(manifest) in str(error.value)
    assert (run / "run.json").read_bytes() == before
    with pytest.raises(ValueError, match="read some of its data differently"):
        list(longer.data.task.validation_predictions(run))


@pytest.mark.parametrize("task", ["transcription", "recording_labels"])
def test_an_older_run_with_other_recordings_is_resumed(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation decodes by the version of the run, too."""
    manifest = write_corpus(tmp_path / "data", "train", 12, 1)
    run = train(config_of(task, manifest, 2), tmp_path / "run")
    longer = config_of(task, manifest, 4)
    uninterrupted = train(longer, shutil.copytree(run, tmp_path / "uninterrupted"))
    started_by_version_1(run)
    versions, transcribe = [], Transcriber.transcribe_waveforms
    monkeypatch.setattr(
        Transcriber,
        "transcribe_waveforms",
        lambda self, *arguments, **options: versions.append(self.reading) or transcribe(self, *arguments, **options),
    )
    assert_equal_runs(train(longer, run), uninterrupted)
    assert set(versions) <= {1}
    assert bool(versions) is (task == "transcription")
    assert seqlab.load(run, device="cpu").reading == 1
    assert len(list(longer.data.task.validation_predictions(run))) > 0
