"""A data set of the benchmark: rows, files in a folder, configs of two healthy trainings, and a test score."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seqlab.optim import LinearScheduleConfig, OptimConfig, OptimizerConfig
from seqlab.runs.config import Config, TrainingConfig

Row = tuple[Any, Any]
"""Input and target; a line of a continuous text has None as its target."""
Settings = dict[str, Any]
"""Values of config fields by dotted key."""


@dataclass(frozen=True)
class Splits:
    """Rows by split. The test rows measure a run after training, by what the loaded run predicts."""

    train: list[Row]
    valid: list[Row]
    test: list[Row]


@dataclass(frozen=True)
class DataSet:
    """A data set with two variants of a healthy training."""

    name: str
    load: Callable[[int], Splits]
    """Return the rows of a seed, which divides them into splits."""
    write: Callable[[Splits, Path], None]
    """Write training and validation rows into a folder."""
    variants: tuple[Callable[[Path], Config], Callable[[Path], Config]]
    """Configs of healthy trainings on the written files, with different models."""
    score: Callable[[Path, Sequence[Row]], float]
    """Score a run on rows: accuracy, exact match or nats per character, as predicted one token after another."""
    batch_fields: tuple[str, ...]
    """Fields of the section `data` with the size of a step and of a micro-step."""
    metric: str
    """Name of the corresponding validation score in metrics.jsonl."""
    other_distribution: Callable[[Splits], Splits] | None = None
    """Choose validation rows that differ in kind from the training rows."""
    other_reading: Callable[[Row], Row] | None = None
    """Rewrite a validation row as another program would have written it: casing, Unicode form, line ends."""
    settings: dict[str, Settings | tuple[Settings, Settings]] = field(default_factory=dict)
    """Settings of faults that depend on the model: cause -> settings, or those of each variant."""

    def healthy(self, folder: Path, variant: int, seed: int) -> Config:
        """Return the config of a healthy training on the files in `folder`."""
        return replace(self.variants[variant](folder), seed=seed)

    def settings_of(self, cause: str, variant: int) -> Settings:
        """Return the settings of a fault for a variant."""
        settings = self.settings[cause]
        return settings if isinstance(settings, dict) else settings[variant]


def divide(rows: Sequence[Row], seed: int, valid: int, test: int) -> Splits:
    """Shuffle rows and divide them into splits."""
    rows = random.Random(seed).sample(rows, len(rows))
    return Splits(rows[valid + test :], rows[:valid], rows[valid : valid + test])


def linear_decay(optimizer: OptimizerConfig, warmup_steps: int, **fields: Any) -> OptimConfig:
    """Return a warmup and a linear decay to 0."""
    return OptimConfig(optimizer=optimizer, schedule=LinearScheduleConfig(warmup_steps=warmup_steps), **fields)


def training(max_steps: int, **fields: Any) -> TrainingConfig:
    """Return a training of one thread with ten validations and fifty lines of metrics."""
    every = max_steps // 10
    return TrainingConfig(
        max_steps=max_steps,
        log_every=max(1, max_steps // 50),
        save_every=every,
        valid_every=every,
        precision="fp32",
        device="cpu",
        threads=1,
        **fields,
    )


def accuracy(predicted: Sequence[str], rows: Sequence[Row]) -> float:
    """Return the percentage of rows whose prediction equals the target."""
    return 100 * sum(one == str(target) for one, (_, target) in zip(predicted, rows, strict=True)) / len(rows)
