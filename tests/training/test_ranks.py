"""Data parallelism: ranks stop together and resume each other's runs; `tests/contracts` compares with one process."""

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from reference.ranks import run_in_ranks, train_in_ranks, train_until_killed, train_with_signal
from reference.shared import SharedFolder
from reference.tiny_runs import assert_close_runs, assert_equal_runs, comparable_metrics, tiny_config, with_training

from seqlab.base.world import LostRank
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig, SgdConfig
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.training import FailedStep, Interrupted, train
from seqlab.training.failure import read_failure

SCHEDULE = ConstantScheduleConfig(warmup_steps=4)
SGD = OptimConfig(optimizer=SgdConfig(lr=0.3), schedule=SCHEDULE, max_grad_norm=0.5, average_last=3)
ADAM = OptimConfig(optimizer=AdamConfig(lr=3e-3, eps=1e-3), schedule=SCHEDULE, ema_decay=0.9)


def exact_config(corpus: Path, optim: OptimConfig, **training: Any) -> Config:
    """Build the config of a run without dropout: its steps do not depend on the number of ranks."""
    limits = {"max_steps": 12, "log_every": 1, "save_every": 3, "valid_every": 6} | training
    return tiny_config(corpus, model={"dropout": 0.0}, optim=optim, **limits)


@pytest.fixture(scope="session")
def single_process_run(corpus: Path, shared: SharedFolder) -> Path:
    """Return a run of a single process."""
    return shared.build("single-process", lambda folder: train(exact_config(corpus, ADAM), folder / "run")) / "run"


def test_three_ranks_equal_a_single_process_with_steps_too_small_to_split(corpus: Path, tmp_path: Path) -> None:
    config = exact_config(corpus, SGD, max_steps=6, parallel="fsdp")
    config = replace(config, data=replace(config.data, batch_tokens=16, micro_batch_tokens=16))
    assert_close_runs(train_in_ranks(3, config, tmp_path / "run"), train(config, tmp_path / "single_process"), 1e-6)


@pytest.mark.parametrize(("first", "then", "parallel"), [(1, 2, "ddp"), (2, 1, "fsdp")])
def test_a_run_resumes_with_another_number_of_ranks(
    corpus: Path,
    tmp_path: Path,
    single_process_run: Path,
    first: int,
    then: int,
    parallel: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = exact_config(corpus, ADAM, parallel=parallel)
    run_dir = tmp_path / "run"
    for world_size, max_steps in ((first, 6), (then, 12)):
        half = with_training(config, max_steps=max_steps)
        if world_size == 1:
            with caplog.at_level(logging.WARNING):
                train(half, run_dir)
        else:
            train_in_ranks(world_size, half, run_dir)
    assert_close_runs(run_dir, single_process_run, 1e-6)
    [event] = comparable_metrics(run_dir, ["event"])
    assert event["machine"] == [f"world_size {first} -> {then}"]
    if then == 1:
        assert "world_size 2 -> 1" in caplog.text
        assert "not bit for bit" in caplog.text


def test_a_signal_to_one_rank_stops_all_after_the_same_step(corpus: Path, tmp_path: Path) -> None:
    """With dropout and subword sampling, the resumed run equals an uninterrupted one bit for bit, also if sharded."""
    config = tiny_config(corpus, max_steps=12, parallel="fsdp")
    run_dir = tmp_path / "run"
    stopped = run_in_ranks(2, train_with_signal, config, run_dir, 6, 1, signal.SIGINT)
    assert stopped == [stopped[0]] * 2
    assert stopped[0].kind is Interrupted
    assert "SIGINT: stopped after step 6 " in stopped[0].message
    assert checkpoint_steps(run_dir / "checkpoints") == [4, 6]
    train_in_ranks(2, config, run_dir)
    assert RunFolder(run_dir).read_description_entry("machine")["world_size"] == 2
    assert_equal_runs(run_dir, train_in_ranks(2, config, tmp_path / "uninterrupted"))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_stops_the_others_with_an_error(corpus: Path, tmp_path: Path, rank: int) -> None:
    config = tiny_config(corpus, max_steps=8)
    found = run_in_ranks(2, train_until_killed, config, tmp_path / "run", 6, rank)
    assert found[rank] is None
    assert found[1 - rank].kind is LostRank
    assert "Another rank ended" in found[1 - rank].message
    assert checkpoint_steps(tmp_path / "run" / "checkpoints") == [4]  # resumed as after a signal


def test_a_failed_setup_stops_all_ranks(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus)
    config = replace(config, data=replace(config.data, train_src=[str(tmp_path / "missing.en")]))
    main, other = run_in_ranks(2, train, config, tmp_path / "run")
    assert main.kind is FileNotFoundError
    assert other.kind is LostRank
    assert "Rank 0 failed" in other.message
    assert not (tmp_path / "run").exists()


def test_a_failed_step_is_saved_with_the_pairs_of_all_ranks(corpus: Path, tmp_path: Path) -> None:
    optim = OptimConfig(optimizer=SgdConfig(lr=1e9, momentum=0), schedule=SCHEDULE, max_grad_norm=None)
    found = run_in_ranks(2, train, tiny_config(corpus, optim=optim, parallel="fsdp"), tmp_path / "run")
    assert found == [found[0]] * 2
    assert found[0].kind is FailedStep
    [folder] = (tmp_path / "run" / "failures").iterdir()
    weights, micro_steps, *_ = read_failure(folder)
    assert all(value.isfinite().all() for value in weights.values())
    pairs = [index for batch in micro_steps for index in batch.indices.tolist()]
    assert f"Its {len(pairs)} pairs" in found[0].message
    assert len(set(pairs)) == len(pairs)


def overwrite_in_job(config: Config, run_dir: Path, restarts: list[int]) -> None:
    """Overwrite a run as a rank of a torchrun job, with the restart count of each rank's machine."""
    os.environ |= {"TORCHELASTIC_RUN_ID": "job", "TORCHELASTIC_RESTART_COUNT": str(restarts[dist.get_rank()])}
    train(config, run_dir, overwrite=True)


def test_a_job_restarted_on_another_machine_does_not_overwrite_its_own_run(corpus: Path, tmp_path: Path) -> None:
    """torchrun counts restarts per machine, and the machine of rank 0 may not have restarted."""
    config, run_dir = tiny_config(corpus, max_steps=4), tmp_path / "run"
    creation_times = []
    for restarts in ([0, 0], [0, 1], [0, 0]):
        assert run_in_ranks(2, overwrite_in_job, config, run_dir, restarts) == [None, None]
        creation_times.append(RunFolder(run_dir).description_file.stat().st_mtime_ns)
    assert creation_times[0] == creation_times[1] < creation_times[2]


def train_with_log(config: Config, run_dir: Path, is_late: bool) -> Path:
    """Train with a log of the objective in every other step; or, if it `is_late`, of rank 1 from the third step on."""
    compute = CrossEntropy.__call__

    def compute_with_log(self: CrossEntropy, model: Any, batch: Any, context: Any) -> Any:
        loss = compute(self, model, batch, context)
        has_log = context.step >= 2 if is_late else context.step % 2 == 0
        if has_log and (not is_late or not dist.is_initialized() or dist.get_rank() == 1):
            loss.logs["some"] = loss.total.detach()
        return loss

    CrossEntropy.__call__ = compute_with_log  # type: ignore[method-assign]
    try:
        return train(config, run_dir)
    finally:
        CrossEntropy.__call__ = compute  # type: ignore[method-assign]


def test_a_log_of_some_steps_is_the_same_on_two_ranks(corpus: Path, tmp_path: Path) -> None:
    config = exact_config(corpus, SGD, max_steps=4)
    assert run_in_ranks(2, train_with_log, config, tmp_path / "two", False) == [tmp_path / "two"] * 2
    train_with_log(config, tmp_path / "one", False)
    for run_dir in (tmp_path / "one", tmp_path / "two"):
        lines = comparable_metrics(run_dir, ["train"])
        assert ["some" in line for line in lines] == [True, False, True, False]
        assert [line["some"] for line in lines[::2]] == pytest.approx([line["loss"] for line in lines[::2]])


def test_a_log_that_comes_late_is_refused_on_two_ranks_but_not_on_one(corpus: Path, tmp_path: Path) -> None:
    config = exact_config(corpus, SGD, max_steps=4)
    train_with_log(config, tmp_path / "one", True)
    assert ["some" in line for line in comparable_metrics(tmp_path / "one", ["train"])] == [False, False, True, True]
    other, late = run_in_ranks(2, train_with_log, config, tmp_path / "two", True)
    assert late.kind is ValueError
    assert "must return the same logs in each step, but `" in late.message
    assert other.kind is LostRank
