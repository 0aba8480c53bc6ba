"""Losses, gradients and weights that are not finite end a training with an error that can be replayed."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.tiny_runs import (
    assert_equal_runs,
    tiny_config,
)

import seqlab.training.loop
from seqlab.optim import (
    AdamConfig,
    ConstantScheduleConfig,
    OptimConfig,
    SgdConfig,
)
from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps
from seqlab.runs.config import Config
from seqlab.training import FailedStep, train
from seqlab.training.accumulator import Accumulator
from seqlab.training.failure import read_failure

from .conftest import replay_failure


def diverging_config(corpus: Path, **changes: Any) -> Config:
    """Describe a run with a learning rate so high that a gradient becomes infinite."""
    schedule = ConstantScheduleConfig()
    return tiny_config(
        corpus, optim=OptimConfig(optimizer=SgdConfig(lr=1e9), schedule=schedule, max_grad_norm=None), **changes
    )


def test_a_non_finite_gradient_is_reported_with_step_and_pairs_and_can_be_replayed(
    corpus: Path, tmp_path: Path
) -> None:
    config = diverging_config(corpus, save_every=1)
    run_dir = tmp_path / "run"
    messages = []
    for _ in range(2):  # running the command again fails in the same way
        with pytest.raises(FailedStep) as raised:
            train(config, run_dir)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    found = re.match(
        r"Step (\d+) has a non-finite loss or gradient \(gradient norm (\w+), loss .*\)\. Its \d+ pairs "
        r"\(the first: .*train\.en and .*train\.de, line \d+; .*\) and the weights that gave it are in (\S+): "
        r"`seqlab replay` shows where the value arose\. A lower `optim\.optimizer\.lr`",
        messages[0],
    )
    assert found is not None, messages[0]
    step, norm, written = int(found[1]), found[2], Path(found[3])
    assert step == checkpoint_steps(run_dir / "checkpoints")[-1] + 1
    assert checkpoint_steps(run_dir / "failures") == [step]
    _, _, error = replay_failure(config, written, step)
    assert f"({error})" in messages[0]
    assert f"gradient norm {norm}" in error


def test_deferred_metrics_report_the_same_failed_step(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the next step starts before the results of a step are read: step, weights and batches are the same."""
    optim = OptimConfig(optimizer=AdamConfig(lr=1e9), schedule=ConstantScheduleConfig(), max_grad_norm=None)
    found = []
    for is_deferred in (False, True):
        monkeypatch.setattr(seqlab.training.loop, "_defers_metrics", lambda run, is_deferred=is_deferred: is_deferred)
        run_dir = tmp_path / f"deferred_{is_deferred}"
        with pytest.raises(FailedStep) as raised:
            train(tiny_config(corpus, optim=optim), run_dir)
        [step] = checkpoint_steps(run_dir / "failures")
        weights, micro_steps, *_ = read_failure(run_dir / "failures" / checkpoint_name(step))
        found.append((step, str(raised.value).replace(str(run_dir), ""), weights, micro_steps))
    (step, message, weights, micro_steps), (*deferred, deferred_weights, deferred_micro_steps) = found
    assert deferred == [step, message]
    assert all(torch.equal(deferred_weights[name], value) for name, value in weights.items())
    assert [batch.indices.tolist() for batch in deferred_micro_steps] == [
        batch.indices.tolist() for batch in micro_steps
    ]


def test_deferred_metrics_do_not_change_a_run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_deferred in (False, True):
        monkeypatch.setattr(seqlab.training.loop, "_defers_metrics", lambda run, is_deferred=is_deferred: is_deferred)
        train(tiny_config(corpus), tmp_path / f"deferred_{is_deferred}")
    assert_equal_runs(tmp_path / "deferred_True", tmp_path / "deferred_False")


def test_non_finite_weights_fail_the_first_step(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = seqlab.training.loop.start_update

    def start_with_infinite_weight(accumulator: Accumulator, *arguments: Any) -> Any:
        accumulator.parameters[0].data[0] = float("inf")
        return original(accumulator, *arguments)

    monkeypatch.setattr(seqlab.training.loop, "start_update", start_with_infinite_weight)
    with pytest.raises(FailedStep, match="Step 1 has a non-finite loss or gradient"):
        train(tiny_config(corpus), tmp_path / "run")
    assert checkpoint_steps(tmp_path / "run" / "checkpoints") == []
