"""Images: the handwritten digits of scikit-learn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import seqlab
from benchmarks.diagnosis.data_sets.data_set import DataSet, Row, Splits, accuracy, divide, linear_decay, training
from seqlab.models import (
    CnnConfig,
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.models.config import ModelConfig
from seqlab.objectives import SoftmaxConfig
from seqlab.optim import AdamWConfig
from seqlab.runs.config import Config
from seqlab.tasks.prediction.config import PredictionConfig


def _load(seed: int) -> Splits:
    digits = load_digits()
    return divide(list(zip(digits.images.astype(np.float32), digits.target.tolist(), strict=True)), seed, 300, 300)


def _write(splits: Splits, folder: Path) -> None:
    for name, rows in (("train", splits.train), ("valid", splits.valid)):
        images, labels = zip(*rows, strict=True)
        np.savez(folder / f"{name}.npz", x=np.stack(images), y=np.array(labels))


def _config(folder: Path, model: ModelConfig) -> Config:
    return Config(
        data=PredictionConfig(
            train=[str(folder / "train.npz")], valid=str(folder / "valid.npz"), predicts="class", batch_rows=64
        ),
        model=model,
        objective=SoftmaxConfig(),
        optim=linear_decay(AdamWConfig(lr=1e-3, weight_decay=0.1), 50),
        training=training(800),
    )


def _mlp(folder: Path) -> Config:
    return _config(folder, EncoderPredictorConfig(encoder=MlpEncoderConfig(dropout=0.4, input_dropout=0.1)))


def _cnn(folder: Path) -> Config:
    return _config(folder, CnnConfig(channels=(16, 32, 32), pooled_blocks=2, norm="batch", output_dropout=0.3))


def _score(run_dir: Path, rows: Sequence[Row]) -> float:
    return accuracy(seqlab.load(str(run_dir)).predict(np.stack([image for image, _ in rows])), rows)


def _mismatch(splits: Splits) -> Splits:
    """Turn the validation images by 90 degrees, as if another scanner had stored them."""
    return Splits(splits.train, [(np.rot90(image).copy(), label) for image, label in splits.valid], splits.test)


IMAGES = DataSet(
    "images",
    _load,
    _write,
    (_mlp, _cnn),
    _score,
    ("batch_rows", "micro_batch_rows"),
    "accuracy",
    _mismatch,
    None,
    {
        "too_much_regularization": (
            {"model.dropout": 0.97, "optim.optimizer.weight_decay": 2.0},
            {"model.dropout": 0.8, "model.output_dropout": 0.97, "optim.optimizer.weight_decay": 2.0},
        ),
        "overfitting": (
            {
                "model.hidden_sizes": [1024, 1024],
                "model.dropout": 0.0,
                "model.input_dropout": 0.0,
                "optim.optimizer.weight_decay": 0.0,
                "training.max_steps": 2000,
            },
            {
                "model.norm": "none",
                "model.output_dropout": 0.0,
                "optim.optimizer.weight_decay": 0.0,
                "training.max_steps": 2000,
            },
        ),
        "model_too_small": (
            {"model.hidden_sizes": [2], "model.dropout": 0.0},
            {"model.channels": [1, 1, 1], "model.output_dropout": 0.0},
        ),
    },
)
