"""Recordings: spoken digits of six speakers (FSDD), one label per recording."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import seqlab
from benchmarks.diagnosis.data_sets.data_set import DataSet, Row, Splits, accuracy, divide, linear_decay, training
from seqlab.corpora import CORPORA
from seqlab.corpora.fsdd import DIGITS, SPEAKERS
from seqlab.corpora.recordings import locate_recordings
from seqlab.models import LinearEncoderConfig, RecordingLabelerConfig, RecurrentEncoderConfig
from seqlab.models.config import ModelConfig
from seqlab.objectives import SoftmaxConfig
from seqlab.optim import AdamWConfig
from seqlab.runs.config import Config
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig

INDICES = range(5, 50)
HELD_OUT = SPEAKERS[:2]
"""Speakers of the validation set, if its speakers differ from those of the training set."""


def _load(seed: int) -> Splits:
    folder = locate_recordings(CORPORA["fsdd"], None)
    rows = [
        (str(folder / f"{digit}_{speaker}_{index}.wav"), DIGITS[digit])
        for digit in range(10)
        for speaker in SPEAKERS
        for index in INDICES
    ]
    return divide(rows, seed, 400, 400)


def _write(splits: Splits, folder: Path) -> None:
    for name, rows in (("train", splits.train), ("valid", splits.valid)):
        lines = [json.dumps({"audio": path, "text": label}) + "\n" for path, label in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines), "utf-8", newline="\n")


def _config(folder: Path, model: ModelConfig) -> Config:
    return Config(
        data=RecordingLabelsConfig(
            train=[str(folder / "train.jsonl")],
            valid=str(folder / "valid.jsonl"),
            sample_rate=8000,
            num_bands=40,
            batch_seconds=20,
            augment_time_masks=1,
            augment_time_frames=10,
            augment_frequency_masks=1,
            augment_frequency_bands=8,
        ),
        model=model,
        objective=SoftmaxConfig(),
        optim=linear_decay(AdamWConfig(lr=3e-3, weight_decay=0.05), 50),
        training=training(500),
    )


def _gru(folder: Path) -> Config:
    return _config(
        folder,
        RecordingLabelerConfig(
            encoder=RecurrentEncoderConfig(family="gru", hidden_size=96, dropout=0.2, output_dropout=0.2),
            frame_size=96,
            channels=(8, 16),
        ),
    )


def _cnn(folder: Path) -> Config:
    return _config(
        folder,
        RecordingLabelerConfig(
            encoder=LinearEncoderConfig(activation="relu", input_dropout=0.1),
            channels=(8, 16, 32),
            frame_size=96,
            frame_dropout=0.1,
        ),
    )


def _score(run_dir: Path, rows: Sequence[Row]) -> float:
    return accuracy(seqlab.load(str(run_dir)).label([path for path, _ in rows]), rows)


def _mismatch(splits: Splits) -> Splits:
    """Validate on two speakers who are not in the training set."""
    rows = splits.train + splits.valid
    is_held_out = [Path(path).name.split("_")[1] in HELD_OUT for path, _ in rows]
    train = [row for row, held_out in zip(rows, is_held_out, strict=True) if not held_out]
    valid = [row for row, held_out in zip(rows, is_held_out, strict=True) if held_out]
    return replace(splits, train=train, valid=valid[:400])


NO_REGULARIZATION = {
    "data.augment_time_masks": 0,
    "data.augment_frequency_masks": 0,
    "model.dropout": 0.0,
    "model.output_dropout": 0.0,
    "optim.optimizer.weight_decay": 0.0,
    "training.max_steps": 1000,
}
RECORDINGS = DataSet(
    "recordings",
    _load,
    _write,
    (_gru, _cnn),
    _score,
    ("batch_seconds", "micro_batch_seconds"),
    "accuracy",
    _mismatch,
    None,
    {
        "too_much_regularization": {
            "model.dropout": 0.8,
            "model.output_dropout": 0.95,
            "optim.optimizer.weight_decay": 2.0,
            "data.augment_time_frames": 60,
            "data.augment_frequency_bands": 39,
        },
        "overfitting": NO_REGULARIZATION,
        "model_too_small": (
            {"model.hidden_size": 2, "model.channels": [1, 1], "model.dropout": 0.0, "model.output_dropout": 0.0},
            {
                "model.hidden_size": 2,
                "model.channels": [1, 1, 1],
                "model.dropout": 0.0,
                "model.output_dropout": 0.0,
            },
        ),
    },
)
