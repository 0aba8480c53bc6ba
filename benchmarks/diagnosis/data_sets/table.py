"""A table: measurements of words of the English Web Treebank, and their parts of speech as classes."""

import csv
import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import seqlab
from benchmarks.diagnosis.data_sets.data_set import DataSet, Row, Splits, accuracy, divide, linear_decay, training
from seqlab.corpora import locate
from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.models.config import ModelConfig
from seqlab.objectives import SoftmaxConfig
from seqlab.optim import AdamWConfig
from seqlab.runs.config import Config
from seqlab.tasks.prediction.config import PredictionConfig

NUM_WORDS = 12_000
CLASSES = ("NOUN", "VERB", "ADJ", "ADV", "PROPN", "PRON", "ADP", "DET", "AUX", "NUM")


def _sentences() -> list[list[tuple[str, str]]]:
    """Return the words and parts of speech of all training sentences."""
    with gzip.open(locate("ud_ewt")["train"]["sentences"], "rt", encoding="utf-8") as file:
        blocks = file.read().split("\n\n")
    lines = [[line.split("\t") for line in block.split("\n") if line[:1].isdigit()] for block in blocks]
    return [[(cells[1], cells[3]) for cells in block if cells[0].isdigit()] for block in lines if len(block) > 2]


def _measure(sentence: Sequence[tuple[str, str]], position: int) -> dict[str, float | str]:
    """Return the columns of a word."""
    word = sentence[position][0]
    before = sentence[position - 1][0] if position else "."
    after = sentence[position + 1][0] if position + 1 < len(sentence) else "."
    return {
        "letters": len(word),
        "vowels": sum(letter in "aeiouAEIOU" for letter in word) / len(word),
        "capitals": sum(letter.isupper() for letter in word),
        "digits": sum(letter.isdigit() for letter in word),
        "position": position / len(sentence),
        "words": len(sentence),
        "letters_before": len(before),
        "letters_after": len(after),
        "capital_before": int(before[0].isupper()),
        "capital_after": int(after[0].isupper()),
        "first_letter": word[0].lower(),
        "last_letter": word[-1].lower(),
        "last_but_one": word[-2:-1].lower() or "none",
        "last_before": before[-1].lower(),
        "last_after": after[-1].lower(),
    }


CATEGORICAL = ["first_letter", "last_letter", "last_but_one", "last_before", "last_after"]


def _load(seed: int) -> Splits:
    words = [
        (_measure(sentence, position), sentence[position][1])
        for sentence in _sentences()
        for position in range(len(sentence))
        if sentence[position][1] in CLASSES
    ]
    return divide(random.Random(0).sample(words, NUM_WORDS), seed, 1500, 1500)


def _write(splits: Splits, folder: Path) -> None:
    for name, rows in (("train", splits.train), ("valid", splits.valid)):
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0][0], "tag"])
            writer.writeheader()
            writer.writerows({**columns, "tag": tag} for columns, tag in rows)


def _config(folder: Path, model: ModelConfig, lr: float) -> Config:
    return Config(
        data=PredictionConfig(
            train=[str(folder / "train.csv")],
            valid=str(folder / "valid.csv"),
            target=["tag"],
            predicts="class",
            categorical=CATEGORICAL,
            batch_rows=64,
        ),
        model=model,
        objective=SoftmaxConfig(),
        optim=linear_decay(AdamWConfig(lr=lr, weight_decay=0.1), 50),
        training=training(1500),
    )


def _small(folder: Path) -> Config:
    return _config(
        folder,
        EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(256,), dropout=0.4, input_dropout=0.1)),
        1e-2,
    )


def _normalized(folder: Path) -> Config:
    return _config(
        folder,
        EncoderPredictorConfig(
            encoder=MlpEncoderConfig(hidden_sizes=(128, 128), dropout=0.2, input_dropout=0.1, norm="batch")
        ),
        1e-2,
    )


def _score(run_dir: Path, rows: Sequence[Row]) -> float:
    return accuracy(seqlab.load(str(run_dir)).predict([columns for columns, _ in rows]), rows)


def _mismatch(splits: Splits) -> Splits:
    """Train on the words of long sentences, and validate on those of short ones."""
    rows = splits.train + splits.valid
    is_short = [columns["words"] <= 8 for columns, _ in rows]
    short = [row for row, short in zip(rows, is_short, strict=True) if short]
    return Splits([row for row, short in zip(rows, is_short, strict=True) if not short], short, splits.test)


def _upper_case(row: Row) -> Row:
    columns, tag = row
    return {name: value.upper() if isinstance(value, str) else value for name, value in columns.items()}, tag


TABLE = DataSet(
    "table",
    _load,
    _write,
    (_small, _normalized),
    _score,
    ("batch_rows", "micro_batch_rows"),
    "accuracy",
    _mismatch,
    _upper_case,
    {
        "too_much_regularization": {"model.dropout": 0.97, "optim.optimizer.weight_decay": 2.0},
        "overfitting": {
            "model.hidden_sizes": [512, 512],
            "model.dropout": 0.0,
            "model.input_dropout": 0.0,
            "optim.optimizer.weight_decay": 0.0,
            "training.max_steps": 2500,
        },
        "model_too_small": {"model.hidden_sizes": [2], "model.dropout": 0.0},
    },
)
