"""Running statistics of batch norm for averaged weights and additional forward passes."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from reference.stopped_runs import train_until
from reference.tiny_runs import assert_equal_runs, with_training

from seqlab.base.world import SINGLE_PROCESS
from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.optim import ConstantScheduleConfig, OptimConfig, SamConfig, ScheduleFreeConfig, SgdConfig
from seqlab.runs.config import Config
from seqlab.runs.load import load_run
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import prepare_examples
from seqlab.tasks.prediction.task import PredictionTask
from seqlab.training import train

from .conftest import tiny

SGD = OptimConfig(optimizer=SgdConfig(lr=0.2), schedule=ConstantScheduleConfig())
AVERAGES = {
    "moving average": replace(SGD, ema_decay=0.9),
    "mean of the last": replace(SGD, average_last=3),
    "schedule-free": OptimConfig(optimizer=ScheduleFreeConfig(lr=0.05), schedule=ConstantScheduleConfig()),
}


def config_of(table: str, optim: OptimConfig) -> Config:
    model = EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(8, 8), norm="batch", dropout=0.2))
    return replace(tiny(table, "price", model=model), optim=optim)


@pytest.mark.parametrize("name", AVERAGES)
def test_statistics_are_recomputed_for_averaged_weights(name: str, table: str, tmp_path: Path) -> None:
    run = load_run(train(config_of(table, AVERAGES[name]), tmp_path / "run"), "last")
    data = run.config.data
    assert isinstance(data, PredictionConfig)
    examples = prepare_examples(data, run.codecs, run.folder.cache)
    steps = islice(PredictionTask().steps(examples, run.config, run.codecs, SINGLE_PROCESS, None), 200)
    inputs = [step.micro_steps[0].src.flatten(1) for step in steps]
    first = run.model.encoder.hidden[0]
    with torch.no_grad():
        means = torch.stack([first.project(each).mean(0) for each in inputs]).mean(0)
        variances = torch.stack([first.project(each).var(0) for each in inputs]).mean(0)
    torch.testing.assert_close(first.norm.running_mean, means, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first.norm.running_var, variances, atol=1e-4, rtol=1e-4)


def test_resumed_schedule_free_run_equals_an_uninterrupted_one(table: str, tmp_path: Path) -> None:
    """The other averages with batch norm are in `tests/contracts`."""
    config = with_training(config_of(table, AVERAGES["schedule-free"]), max_steps=16)
    uninterrupted, resumed = train(config, tmp_path / "uninterrupted"), tmp_path / "resumed"
    train_until(config, resumed, 11)
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)


def test_additional_passes_of_sam_do_not_change_statistics(table: str, tmp_path: Path) -> None:
    """Sharpness-aware minimization runs its second pass with perturbed weights."""
    optim = replace(SGD, optimizer=SamConfig(lr=1e-12, rho=5.0))
    model = EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(8,), norm="batch"))
    found = {}
    for name, optimizer in (("sam", optim.optimizer), ("plain", SgdConfig(lr=1e-12))):
        config = replace(tiny(table, "price", model=model), optim=replace(optim, optimizer=optimizer))
        found[name] = load_run(train(config, tmp_path / name), "last").model.encoder.hidden[0].norm
    assert found["sam"].num_batches_tracked == found["plain"].num_batches_tracked
    torch.testing.assert_close(found["sam"].running_var, found["plain"].running_var, rtol=1e-4, atol=1e-5)
