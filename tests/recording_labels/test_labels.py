"""Classification of recordings: command line, batches, folds by speaker, fine-tuning."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from contracts.trained import Trained
from system.conftest import run_in_process

import seqlab
from seqlab.audio.reading import read_recording
from seqlab.data.manifests import ManifestEntry
from seqlab.models import (
    LinearEncoderConfig,
    RecordingLabelerConfig,
)
from seqlab.objectives import SoftmaxConfig
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig, write_config
from seqlab.runs.load import load_run
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.training import train, train_folds

RATE = 8000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write 60 rising and falling tones of four speakers."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(1)
    rows = []
    for number in range(60):
        time = np.arange(int(rng.uniform(0.3, 0.7) * RATE)) / RATE
        label = "going up" if number % 2 else "going down"
        slope = 1500 * (1 if number % 2 else -1)
        phase = 2 * np.pi * (rng.uniform(1200, 1500) * time + slope * time**2 / 2)
        samples = 0.3 * np.sin(phase) + rng.normal(size=len(time)) * 0.01
        soundfile.write(folder / f"{number}.wav", samples, RATE)
        rows.append({"audio": f"{number}.wav", "text": label, "speaker": f"s{number // 2 % 4}"})
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder / "all.jsonl")


def tiny_config(corpus: str, max_steps: int = 24, **options: Any) -> Config:
    data: dict[str, Any] = {"sample_rate": RATE, "num_bands": 24, "batch_seconds": 10, "micro_batch_seconds": 10}
    return Config(
        data=RecordingLabelsConfig(train=[corpus], valid_fraction=0.3, **(data | options)),
        model=RecordingLabelerConfig(
            encoder=LinearEncoderConfig(activation="relu", input_dropout=0.1),
            channels=(4, 8),
            depth=2,
            frame_size=16,
            frame_dropout=0.1,
        ),
        objective=SoftmaxConfig(),
        optim=OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=ConstantScheduleConfig(warmup_steps=2)),
        training=TrainingConfig(
            device="cpu",
            precision="fp32",
            threads=1,
            max_steps=max_steps,
            log_every=8,
            save_every=max_steps,
            valid_every=max_steps,
        ),
    )


def test_labels_of_the_command_line_and_of_python(corpus: str, tmp_path: Path) -> None:
    write_config(tiny_config(corpus, max_steps=60), tmp_path / "config.yaml")
    status, done = run_in_process("train", tmp_path / "config.yaml", "--run_dir", tmp_path / "run")
    assert status == 0, done.stderr.decode()
    folder = Path(corpus).parent
    rows = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
    paths = [str(folder / row["audio"]) for row in rows]
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    stdin = "".join(f"{path}\n" for path in [*paths, "", "nowhere.wav", tmp_path / "silent.wav"]).encode()
    status, done = run_in_process("label", tmp_path / "run", stdin=stdin)
    labels = done.stdout.decode().split("\n")
    assert status == 3
    assert labels[60:] == ["", "", "", ""]
    assert "silent.wav: is silent: its peak is -inf dB of full scale" in done.stderr.decode()
    assert "nowhere.wav: there is no such file" in done.stderr.decode()
    assert sum(label == row["text"] for label, row in zip(labels, rows, strict=False)) >= 57
    spec = f"{corpus}#audio"
    status, done = run_in_process("label", tmp_path / "run", "--input", spec, "--json", "--num_labels", "2")
    records = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [each["label"] for each in records] == labels[:60]
    assert all({"fault", "warning"} <= each.keys() for each in records)
    assert all(sum(each["probs"].values()) == pytest.approx(1) for each in records)
    labeler = seqlab.load(tmp_path / "run", device="cpu", precision="fp32")
    one_by_one = [labeler.label_detailed([path])[0] for path in paths[:10]]
    together = labeler.label_detailed(paths[:10])
    for one, other in zip(one_by_one, together, strict=True):
        assert one.label == other.label
        assert one.probs == pytest.approx(other.probs, abs=1e-4)
    samples, _ = soundfile.read(paths[0])
    assert labeler.label([(samples, RATE)]) == [together[0].label]
    ensemble = seqlab.load([tmp_path / "run"] * 2, device="cpu", precision="fp32").label(paths[:10])
    assert ensemble == [each.label for each in together]


def test_a_run_reads_the_channel_that_it_was_trained_on(corpus: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE)
    samples = np.stack([noise, 0.3 * np.sin(np.arange(RATE) * np.linspace(0.9, 1.1, RATE))], 1)
    samples = np.round(samples * 32768).astype(np.int16)
    soundfile.write(tmp_path / "stereo.wav", samples, RATE)
    rows = [{"audio": "stereo.wav", "text": text} for text in ("a", "b")] * 4
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = tiny_config(str(tmp_path / "all.jsonl"), max_steps=1, channel="right")
    labeler = seqlab.load(train(config, tmp_path / "run"), device="cpu", precision="fp32")
    path = str(tmp_path / "stereo.wav")
    left, right = labeler.label_waveforms([read_recording(path, RATE, channel=name).samples for name in ("1", "2")])
    found = labeler.label_detailed([path, ManifestEntry(path, None, "", channel="left"), (samples, RATE)])
    for each, expected in zip(found, (right, left, right), strict=True):
        assert each.probs == pytest.approx(expected.probs, abs=1e-5)
    assert left.probs != pytest.approx(right.probs, abs=1e-3)
    stdin = f"{path}\n".encode()
    status, done = run_in_process("label", tmp_path / "run", "--json", stdin=stdin)
    assert (status, json.loads(done.stdout)["channel"]) == (0, "right")
    status, done = run_in_process("label", tmp_path / "run", "--channel", "3", stdin=stdin)
    assert status == 3
    assert "stereo.wav: a recording whose channels cannot be mixed: its channel is '3', but it has 2" in (
        done.stderr.decode()
    )


def test_a_recording_given_as_run_is_refused(corpus: str) -> None:
    path = Path(corpus).parent / "0.wav"
    for arguments in ((path.parent, path), (path.parent, "--json", path)):
        status, done = run_in_process("label", *arguments)
        assert status == 2
        assert f"{path} is a recording: write the paths of recordings into a list" in done.stderr.decode()


def test_options_of_text_labeling_are_refused(trained_row: Callable[[str], Trained]) -> None:
    run = trained_row("cnn_recording_labeller").run
    for arguments, message in (
        (("--conllu", "upos"), "--conllu is for labels of text"),
        (("--batch_tokens", "3"), "--batch_tokens is for labels of text"),
        (("--num_labels", "2"), "needs --json"),
    ):
        status, done = run_in_process("label", run, *arguments)
        assert status == 2
        assert message in done.stderr.decode()


def test_speakers_of_several_folds_are_named_before_training(corpus: str, tmp_path: Path) -> None:
    [warning] = tiny_config(corpus).data.check_folds(4)
    assert warning.startswith("4 speakers are in several folds: s0, s1, s2, s3; ")
    assert "`data.fold_column: speaker`" in warning
    assert tiny_config(corpus, folds="grouped", fold_column="speaker").data.check_folds(4) == []
    with pytest.raises(ValueError, match="4 groups, too few for 5 folds"):
        train_folds(tiny_config(corpus, folds="grouped", fold_column="speaker"), tmp_path / "runs", 5)
    with pytest.raises(ValueError, match="has no value in the column 'session'"):
        train_folds(tiny_config(corpus, folds="given", fold_column="session"), tmp_path / "runs", 2)
    assert not (tmp_path / "runs").exists()


def test_folds_by_speaker_predict_each_recording_once(corpus: str, tmp_path: Path) -> None:
    """Each recording has one prediction, by a run that was not trained or validated on speakers of its fold."""
    config = tiny_config(corpus, max_steps=8, folds="grouped", fold_column="speaker")
    report = train_folds(config, tmp_path / "runs", 4)
    lines = (tmp_path / "runs" / "predictions.jsonl").read_text("utf-8").splitlines()
    predictions = [json.loads(line) for line in lines]
    assert sorted(Path(each["audio"]).name for each in predictions) == sorted(f"{number}.wav" for number in range(60))
    for fold in range(1, 5):
        fold_predictions = [each for each in predictions if each["fold"] == fold]
        assert len({each["columns"]["speaker"] for each in fold_predictions}) == 1
        num_correct = sum(each["prediction"] == each["target"] for each in fold_predictions)
        assert report.folds[fold - 1]["accuracy"] == pytest.approx(100 * num_correct / len(fold_predictions))
        counts = yaml.safe_load((tmp_path / "runs" / f"fold_0{fold}" / "run.json").read_text("utf-8"))["data"]["counts"]
        assert counts["test"] == len(fold_predictions)
        assert sum(counts.values()) == 60


def test_fine_tuning_requires_known_labels(corpus: str, tmp_path: Path) -> None:
    """New labels would change the meaning of the outputs; missing labels do not."""
    original = train(tiny_config(corpus, max_steps=8), tmp_path / "origin")
    rows = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
    for row in rows:
        row["audio"] = str(Path(corpus).parent / row["audio"])
    lists = {"others": [row | {"text": row["text"][6:]} for row in rows], "fewer": rows}
    for name, part in lists.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")

    def fine_tune(name: str, parts: str = "all") -> Path:
        config = tiny_config(str(tmp_path / f"{name}.jsonl"), max_steps=1)
        return train(replace(config, init_from=str(original), init_parts=parts), tmp_path / f"{name}_{parts}")

    with pytest.raises(ValueError, match=r"the label 'down', which .* does not have \(going down, going up"):
        fine_tune("others")
    assert list(load_run(fine_tune("others", "matching")).codecs[1].values) == ["down", "up"]
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("".join(line for line in fewer.read_text("utf-8").splitlines(True) if "down" in line), "utf-8")
    assert list(load_run(fine_tune("fewer")).codecs[1].values) == ["going down", "going up"]


def test_labels_of_several_lines_and_labels_of_validation_only(
    corpus: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
    for row in rows:
        row |= {"audio": str(Path(corpus).parent / row["audio"]), "text": row["text"].replace(" ", "\n")}
    rows[-1]["text"] = "sideways"
    for name, part in (("train", rows[:40]), ("valid", rows[40:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    config = tiny_config(f"{tmp_path}/train.jsonl", max_steps=1, valid=f"{tmp_path}/valid.jsonl")
    run_dir = train(config, tmp_path / "run")
    assert "The label 'sideways' is not in the training data: it counts as an error in metrics" in caplog.text
    status, done = run_in_process("label", run_dir, stdin=f"{rows[0]['audio']}\n".encode())
    assert status == 0
    assert done.stdout in (b"going up\n", b"going down\n")


def test_a_single_label_is_refused(corpus: str, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
    for row in rows:
        row |= {"audio": str(Path(corpus).parent / row["audio"]), "text": "same"}
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(ValueError, match="All training recordings have the label 'same'"):
        train(tiny_config(str(tmp_path / "one.jsonl")), tmp_path / "run")


def test_two_spellings_of_a_label_are_refused(corpus: str, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
    path = Path(corpus).with_name("other.jsonl")
    path.write_text("".join(json.dumps(row | {"text": ("1", "1.0")[i % 2]}) + "\n" for i, row in enumerate(rows)))
    with pytest.raises(ValueError, match=r"other\.jsonl, line 2 .*: the classes '1' and '1\.0' are the same value"):
        train(tiny_config(str(path)), tmp_path / "run")
