"""Fixtures: a small table with a known rule, and configs that train within a second."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference.shared import SharedFolder
from system.conftest import run_in_process

from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
    ModelConfig,
)
from seqlab.objectives import SigmoidConfig, SoftmaxConfig, SquaredErrorConfig
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.training import train

ONCE = {"save_every": 300, "valid_every": 300}
"""Checkpoint and validation only at the end."""
OBJECTIVES = {"numbers": SquaredErrorConfig(), "class": SoftmaxConfig(), "labels": SigmoidConfig()}


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Write 240 rows: inputs `size`, `age`, `city`; targets `price` (a number), `class`, and `labels` (up to two)."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(240):
        size, age = rng.normal(100, 30), rng.integers(0, 50)
        city = str(rng.choice(["Aachen", "Berlin", "Köln"]))
        price = 3 * size - 2 * age + {"Aachen": 0, "Berlin": 200, "Köln": 50}[city]
        labels = " ".join(name for name, is_true in (("large", size > 100), ("old", age > 25)) if is_true)
        rows.append([f"{size:.3f}", age, city, f"{price:.3f}", "dear" if price > 350 else "cheap", labels])
    return write_csv(tmp_path / "houses.csv", ["size", "age", "city", "price", "class", "labels"], rows)


def tiny(
    train_file: str, target: str, predicts: str = "numbers", model: ModelConfig | None = None, **options: Any
) -> Config:
    """Return the config of a run that trains within a second; `options` are fields of `data` or `training`."""
    training = {"max_steps": 24, "log_every": 8, "save_every": 8, "valid_every": 8}
    training |= {name: options.pop(name) for name in list(options) if name in training or name == "parallel"}
    data: dict[str, Any] = {"inputs": ["size", "age", "city"], "batch_rows": 32, "micro_batch_rows": 32} | options
    return Config(
        data=PredictionConfig(train=[train_file], target=[target], predicts=predicts, **data),
        model=model or EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(16,), dropout=0.1)),
        objective=OBJECTIVES[predicts],
        optim=OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=ConstantScheduleConfig(warmup_steps=2)),
        training=TrainingConfig(device="cpu", precision="fp32", threads=1, **training),
    )


@pytest.fixture(autouse=True)
def _restore_num_threads() -> Iterator[None]:
    """Restore the number of threads, which training changes for the process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(*arguments: str | Path, stdin: str = "") -> tuple[int, str, str]:
    """Run a command in this process: status, standard output and standard error."""
    status, done = run_in_process(*arguments, stdin=stdin.encode())
    return status, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def houses(table: str, shared: SharedFolder) -> Path:
    """Train a regression model of the price."""
    config = tiny(
        table,
        "price",
        model=EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(32,))),
        max_steps=200,
        **ONCE,
    )
    return shared.build("houses", lambda folder: train(config, folder / "run")) / "run"
