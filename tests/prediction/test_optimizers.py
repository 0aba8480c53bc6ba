"""Training with a penalty, schedule-free averages and the plateau schedule; all optimizers are in tests/contracts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reference.tiny_runs import comparable_metrics

from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.optim import (
    AdamWConfig,
    ConstantScheduleConfig,
    OptimConfig,
    PlateauScheduleConfig,
    ScheduleFreeConfig,
    SgdConfig,
)
from seqlab.runs.checkpoint import WEIGHTS, read_tensors
from seqlab.runs.load import load_run
from seqlab.training import train

from .conftest import tiny


@pytest.mark.parametrize("micro_batch_rows", [32, 8])
def test_l1_penalty_is_added_once_per_step(micro_batch_rows: int, table: str, tmp_path: Path) -> None:
    """To the gradients of weight matrices, not of biases, for any number of micro-steps."""
    model, optimizer = (
        EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(16,))),
        SgdConfig(lr=0.1, momentum=0.0),
    )
    states = []
    for penalty in (0.0, 0.25):
        optim = OptimConfig(
            optimizer=optimizer, schedule=ConstantScheduleConfig(), max_grad_norm=None, l1_penalty=penalty
        )
        config = replace(tiny(table, "price", model=model, micro_batch_rows=micro_batch_rows, max_steps=1), optim=optim)
        states.append(load_run(train(config, tmp_path / str(penalty))).model.state_dict())
    for name, weights in states[0].items():
        expected = 0.1 * 0.25 if weights.dim() > 1 else 0.0
        difference = (states[1][name] - weights).abs()
        torch.testing.assert_close(difference, torch.full_like(difference, expected), rtol=1e-4, atol=1e-6)


def test_schedule_free_inference_uses_averaged_weights(table: str, tmp_path: Path) -> None:
    optim = OptimConfig(optimizer=ScheduleFreeConfig(lr=1e-2), schedule=ConstantScheduleConfig())
    run = train(replace(tiny(table, "price"), optim=optim), tmp_path / "run")
    loaded = load_run(run, "last").model.state_dict()
    checkpoint = run / "checkpoints" / "step_00000024"
    assert (checkpoint / "averaged.safetensors").is_file()
    unaveraged = read_tensors(checkpoint, WEIGHTS)
    assert any(not torch.equal(loaded[name], unaveraged[name]) for name in unaveraged)


def test_plateau_schedule_lowers_the_learning_rate_after_each_rise_of_the_loss(table: str, tmp_path: Path) -> None:
    schedule = PlateauScheduleConfig(patience=0, factor=0.1)
    optim = OptimConfig(optimizer=AdamWConfig(lr=1.0), schedule=schedule, max_grad_norm=None)
    run = train(replace(tiny(table, "price", log_every=1), optim=optim), tmp_path / "run")
    lrs = [line["lr"] for line in comparable_metrics(run, ["train"])]
    losses = [line["loss"] for line in comparable_metrics(run, ["valid"])]
    num_rises = sum(loss >= min(losses[: i + 1]) for i, loss in enumerate(losses[1:-1]))
    assert lrs[-1] == pytest.approx(0.1**num_rises)
