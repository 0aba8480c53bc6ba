"""Labels of lines: the questions of TREC and their six types."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import seqlab
from benchmarks.diagnosis.data_sets.data_set import DataSet, Row, Splits, accuracy, divide, linear_decay, training
from seqlab.corpora import locate
from seqlab.models import CnnEncoderConfig, LabelerConfig, RecurrentEncoderConfig
from seqlab.models.config import ModelConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamWConfig
from seqlab.runs.config import Config
from seqlab.tasks.labelling.config import LabellingConfig


def _load(seed: int) -> Splits:
    with gzip.open(locate("trec")["all"]["labelled"], "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").partition(" ") for line in file]
    return divide([(question, label) for label, _, question in pairs], seed, 600, 600)


def _write(splits: Splits, folder: Path) -> None:
    for name, rows in (("train", splits.train), ("valid", splits.valid)):
        lines = [f"{label}\t{question}\n" for question, label in rows]
        (folder / f"{name}.tsv").write_text("".join(lines), "utf-8", newline="\n")


def _config(folder: Path, model: ModelConfig, lr: float) -> Config:
    train, valid = (f"{folder / name}.tsv" for name in ("train", "valid"))
    return Config(
        data=LabellingConfig(
            train_src=[f"{train}#1"],
            train_tgt=[f"{train}#0"],
            valid_src=f"{valid}#1",
            valid_tgt=[f"{valid}#0"],
            labels_of="lines",
            batch_tokens=512,
        ),
        model=model,
        objective=CrossEntropyConfig(label_smoothing=0.0),
        optim=linear_decay(AdamWConfig(lr=lr, weight_decay=0.05), 50),
        training=training(600, valid_metric="accuracy"),
    )


def _lstm(folder: Path) -> Config:
    model = LabelerConfig(
        encoder=RecurrentEncoderConfig(family="lstm", hidden_size=96, dropout=0.4),
        embedding_size=64,
        unknown_share=0.1,
        embedding_dropout=0.3,
        output_dropout=0.4,
    )
    return _config(folder, model, 4e-3)


def _cnn(folder: Path) -> Config:
    model = LabelerConfig(
        encoder=CnnEncoderConfig(widths=(2, 3), num_filters=96, dropout=0.2),
        embedding_size=96,
        unknown_share=0.05,
        embedding_dropout=0.2,
        output_dropout=0.4,
    )
    return _config(folder, model, 4e-3)


def _score(run_dir: Path, rows: Sequence[Row]) -> float:
    return accuracy(seqlab.load(str(run_dir)).label([question for question, _ in rows]), rows)


def _mismatch(splits: Splits) -> Splits:
    """Train on questions that begin with `What`, and validate on the others."""
    rows = splits.train + splits.valid
    is_what = [question.lower().startswith("what") for question, _ in rows]
    train = [row for row, what in zip(rows, is_what, strict=True) if what]
    return replace(splits, train=train, valid=[row for row, what in zip(rows, is_what, strict=True) if not what])


def _upper_case(row: Row) -> Row:
    return row[0].upper(), row[1]


NO_DROPOUT = {
    "model.unknown_share": 0.0,
    "model.embedding_dropout": 0.0,
    "model.dropout": 0.0,
    "model.output_dropout": 0.0,
    "optim.optimizer.weight_decay": 0.0,
    "training.max_steps": 1200,
}
LABELS = DataSet(
    "labels",
    _load,
    _write,
    (_lstm, _cnn),
    _score,
    ("batch_tokens", "micro_batch_tokens"),
    "accuracy",
    _mismatch,
    _upper_case,
    {
        "too_much_regularization": {
            "model.embedding_dropout": 0.9,
            "model.dropout": 0.9,
            "model.output_dropout": 0.95,
            "optim.optimizer.weight_decay": 2.0,
        },
        "overfitting": (
            NO_DROPOUT | {"model.hidden_size": 256, "model.embedding_size": 256},
            NO_DROPOUT | {"model.num_filters": 256, "model.embedding_size": 256},
        ),
        "model_too_small": (
            {"model.hidden_size": 2, "model.embedding_size": 2, "model.dropout": 0.0, "model.output_dropout": 0.0},
            {
                "model.num_filters": 1,
                "model.widths": [2],
                "model.embedding_size": 2,
                "model.dropout": 0.0,
                "model.output_dropout": 0.0,
            },
        ),
    },
)
