"""Training with each optimizer and schedule: resumed runs, micro-steps, ranks, averaged weights, plateaus."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.ranks import run_in_ranks
from reference.stopped_runs import train_until
from reference.tiny_runs import assert_equal_runs, comparable_metrics

from seqlab.models import MlpConfig
from seqlab.optim import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    ConstantScheduleConfig,
    CosineScheduleConfig,
    ExponentialScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    MuonConfig,
    OneCycleScheduleConfig,
    OptimConfig,
    PlateauScheduleConfig,
    RAdamConfig,
    RmspropConfig,
    SamConfig,
    ScheduleFreeConfig,
    SgdConfig,
)
from seqlab.registry import Parts
from seqlab.runs.checkpoint import WEIGHTS, read_tensors
from seqlab.runs.config import Config
from seqlab.runs.load import load_run
from seqlab.training import train

from .conftest import tiny

CONSTANT = ConstantScheduleConfig(warmup_steps=3)
OPTIMS = {
    "sgd": OptimConfig(optimizer=SgdConfig(lr=0.05, weight_decay=0.01), schedule=CONSTANT),
    "nesterov": OptimConfig(
        optimizer=SgdConfig(lr=0.05, nesterov=True),
        schedule=ExponentialScheduleConfig(final_ratio=0.1),
        l1_penalty=1e-3,
    ),
    "adagrad": OptimConfig(optimizer=AdagradConfig(lr=0.05), schedule=CONSTANT),
    "rmsprop": OptimConfig(optimizer=RmspropConfig(lr=5e-3, momentum=0.5), schedule=CONSTANT),
    "adam": OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=OneCycleScheduleConfig()),
    "adamw": OptimConfig(optimizer=AdamWConfig(lr=1e-2), schedule=PlateauScheduleConfig(patience=0, factor=0.5)),
    "radam": OptimConfig(optimizer=RAdamConfig(lr=1e-2), schedule=LinearScheduleConfig(warmup_steps=3)),
    "muon": OptimConfig(optimizer=MuonConfig(lr=1e-2), schedule=CosineScheduleConfig(warmup_steps=3)),
    "sam": OptimConfig(optimizer=SamConfig(lr=1e-2, rho=0.1), schedule=InverseSqrtScheduleConfig(warmup_steps=3)),
    "schedule_free": OptimConfig(optimizer=ScheduleFreeConfig(lr=1e-2, weight_decay=0.01), schedule=CONSTANT),
}


def config_of(name: str, table: str, **options: Any) -> Config:
    model = MlpConfig(hidden_sizes=(16, 16), norm="layer", dropout=options.pop("dropout", 0.2))
    return replace(tiny(table, "price", model=model, **options), optim=OPTIMS[name])


def test_all_optimizers_and_schedules_are_covered() -> None:
    assert {config.optimizer.family for config in OPTIMS.values()} == set(Parts("optimizer"))
    assert {config.schedule.family for config in OPTIMS.values()} == set(Parts("schedule"))


@pytest.mark.parametrize("name", OPTIMS)
def test_resumed_runs_equal_uninterrupted_ones(name: str, table: str, tmp_path: Path) -> None:
    config = config_of(name, table)
    uninterrupted, resumed = train(config, tmp_path / "uninterrupted"), tmp_path / "resumed"
    for step in (2, 9, 17):
        train_until(config, resumed, step)
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)
    losses = [line["loss"] for line in comparable_metrics(uninterrupted, ["train"])]
    assert losses[-1] < losses[0]


def losses_of(run: Path) -> list[float]:
    return [line["loss"] for line in comparable_metrics(run, ["train"])]


def train_all(configs: dict[str, Config], folder: Path) -> dict[str, list[float]]:
    return {name: losses_of(train(config, folder / name)) for name, config in configs.items()}


def test_losses_do_not_depend_on_micro_steps_or_ranks(table: str, tmp_path: Path) -> None:
    """Micro-steps of 8 or of 4 rows, in one process and in two ranks."""
    configs = {name: config_of(name, table, dropout=0.0, batch_rows=8, max_steps=15) for name in OPTIMS}

    def with_micro_steps_of(rows: int) -> dict[str, Config]:
        return {name: replace(each, data=replace(each.data, micro_batch_rows=rows)) for name, each in configs.items()}

    expected, divided = train_all(with_micro_steps_of(8), tmp_path / "1"), with_micro_steps_of(4)
    for found in (train_all(divided, tmp_path / "2"), run_in_ranks(2, train_all, divided, tmp_path / "ranks")[0]):
        for name in OPTIMS:
            assert found[name] == pytest.approx(expected[name], rel=1e-3), name


def test_schedule_free_inference_uses_averaged_weights(table: str, tmp_path: Path) -> None:
    run = train(config_of("schedule_free", table), tmp_path / "run")
    loaded = load_run(run, "last").model.state_dict()
    checkpoint = run / "checkpoints" / "step_00000024"
    assert (checkpoint / "averaged.safetensors").is_file()
    unaveraged = read_tensors(checkpoint, WEIGHTS)
    assert any(not torch.equal(loaded[name], unaveraged[name]) for name in unaveraged)


def test_plateau_schedule_lowers_the_learning_rate_after_each_rise_of_the_loss(table: str, tmp_path: Path) -> None:
    config = replace(
        config_of("adamw", table),
        optim=OptimConfig(
            optimizer=AdamWConfig(lr=1.0), schedule=PlateauScheduleConfig(patience=0, factor=0.1), max_grad_norm=None
        ),
    )
    run = train(config, tmp_path / "run")
    lrs = [line["lr"] for line in comparable_metrics(run, ["train"])]
    losses = [line["loss"] for line in comparable_metrics(run, ["valid"])]
    num_rises = sum(loss >= min(losses[: i + 1]) for i, loss in enumerate(losses[1:-1]))
    assert lrs[-1] == pytest.approx(0.1**num_rises)
