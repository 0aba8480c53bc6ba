"""Training that ends early: patience, time limit, full disk, out of memory."""

import errno
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.tiny_runs import (
    assert_equal_runs,
    comparable_metrics,
    tiny_config,
    tiny_text_config,
    with_training,
    write_text,
)

import seqlab.training.loop
from seqlab.base import named_files
from seqlab.base.parsing import validate_type
from seqlab.evaluation import Score
from seqlab.models import NgramConfig
from seqlab.optim import (
    AdamConfig,
    LinearScheduleConfig,
    OptimConfig,
    PlateauScheduleConfig,
)
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.load import load_run
from seqlab.tasks.translation.task import TranslationTask
from seqlab.training import train
from seqlab.training.state import Progress
from seqlab.training.validation import Validation

from .conftest import advancing_clock, replace_clock

ADAM = OptimConfig(optimizer=AdamConfig(lr=3e-3))


def validation_of(bleu: float) -> Validation:
    return Validation({"bleu": Score("BLEU", bleu, "")}, 1.0)


@pytest.fixture
def scripted_scores(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
    """Return a function that sets the BLEU scores of the next validations, in order."""

    def script(scores: list[float]) -> None:
        remaining = list(scores)
        monkeypatch.setattr(TranslationTask, "validate", lambda self, run, weights: validation_of(remaining.pop(0)))

    return script


def test_early_stopping_after_patience_validations_without_improvement(
    corpus: Path, tmp_path: Path, scripted_scores: Callable[[list[float]], None]
) -> None:
    config = tiny_config(corpus, max_steps=20, valid_every=2, patience=3, valid_metric="bleu", keep_best=2)
    scripted_scores([1.0, 5.0, 5.0, 4.0, 6.0, 2.0, 6.0, 5.5])
    run_dir = train(config, tmp_path / "run")
    # Step 10 is the best: an equal score is not an improvement.
    assert [line["step"] for line in comparable_metrics(run_dir, ["valid"])] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert [line["is_best"] for line in comparable_metrics(run_dir, ["valid"])] == [
        True,
        True,
        *[False] * 2,
        True,
        *[False] * 3,
    ]
    assert load_run(run_dir).step == 10
    assert load_run(run_dir, "last").step == 16
    assert {10, 14, 16} <= set(checkpoint_steps(run_dir / "checkpoints"))  # the two best and the last
    train(config, run_dir)  # nothing to do: the run has stopped early
    assert len(comparable_metrics(run_dir, ["valid"])) == 8
    scripted_scores([7.0] * 3)
    train(with_training(config, patience=9), run_dir)
    assert [line["step"] for line in comparable_metrics(run_dir, ["valid"])][8:] == [18, 20]
    assert load_run(run_dir).step == 18


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_best_validations_are_ranked_by_score_then_loss_then_step(keep: int) -> None:
    progress, seen = Progress(), []
    for step, score in enumerate([3.0, 1.0, 3.0, 4.0, 2.0, 4.0], start=1):
        progress.step = step
        nll = {6: 0.5}.get(step, 1.0)  # the last has the score of the fourth, and a lower loss
        is_best = progress.add_validation(score, nll, keep)
        seen.append((score, nll, step))
        ranked = sorted(seen, key=lambda entry: (-entry[0], entry[1], entry[2]))
        assert progress.best == ranked[:keep]
        assert is_best == (ranked[0] == (score, nll, step))
        assert validate_type(json.loads(json.dumps(progress.to_json())), Progress) == progress
    assert progress.best[0] == (4.0, 0.5, 6)
    assert progress.validations_since_best == 0


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_never_the_best_and_does_not_count_for_patience(missing: float) -> None:
    progress, best = Progress(), []
    for step, score in enumerate([missing, 0.5, missing, 0.4, missing, 0.9], start=1):
        progress.step = step
        best.append(progress.add_validation(score, 1.0, 2))
        if step == 5:
            assert progress.validations_since_best == 1  # the one of step 4
    assert best == [False, True, False, False, False, True]
    assert progress.best == [(0.9, 1.0, 6), (0.5, 1.0, 2)]


@pytest.mark.parametrize(("score", "since_best"), [(0.4, 1), (0.9, 0), (math.nan, 1)])
def test_a_validation_at_the_end_does_not_count_for_patience_if_training_goes_on(score: float, since_best: int) -> None:
    progress = Progress(step=4, valid_nlls=[2.0, 1.0, 3.0], best=[(0.5, 1.0, 2)], validations_since_best=1)
    regular = replace(progress, best=list(progress.best), valid_nlls=list(progress.valid_nlls))
    progress.step, progress.counted_before_end = 5, progress.validations_since_best
    progress.add_validation(score, 4.0, 1)
    for _ in range(2):
        progress.leave_out_validation_at_end()
        assert progress.valid_nlls == regular.valid_nlls
        assert progress.validations_since_best == since_best
        assert progress.best[0][2] == (5 if score == 0.9 else 2)


def test_a_best_validation_that_an_older_version_stored_as_nan_is_replaced() -> None:
    progress = Progress(step=2, best=[(math.nan, math.nan, 1)])
    assert progress.add_validation(0.5, math.nan, 1)
    assert progress.best == [(0.5, math.inf, 2)]  # a loss that is NaN is the last among equal scores


def test_a_run_whose_metric_is_nan_keeps_the_best_of_the_others_and_warns(
    corpus: Path, tmp_path: Path, scripted_scores: Callable[[list[float]], None], caplog: pytest.LogCaptureFixture
) -> None:
    scripted_scores([math.nan, 5.0, math.nan, math.nan])
    config = tiny_config(corpus, max_steps=8, valid_every=2, patience=2, valid_metric="bleu")
    run_dir = train(config, tmp_path / "run")
    assert [line["is_best"] for line in comparable_metrics(run_dir, ["valid"])] == [False, True, False, False]
    assert load_run(run_dir).step == 4
    assert caplog.text.count("has no finite `training.valid_metric: bleu` (nan)") == 3


def test_a_longer_training_ends_by_patience_as_if_it_had_not_ended_before(
    corpus: Path, tmp_path: Path, scripted_scores: Callable[[list[float]], None], caplog: pytest.LogCaptureFixture
) -> None:
    scores = {2: 9.0, 4: 3.0, 5: 4.0, 6: 5.0, 8: 6.0}
    plateau = OptimConfig(optimizer=ADAM.optimizer, schedule=PlateauScheduleConfig(patience=1))
    config = tiny_config(corpus, optim=plateau, max_steps=12, valid_every=2, patience=3, valid_metric="bleu")
    scripted_scores([scores[step] for step in (2, 4, 6, 8)])
    train(config, tmp_path / "one")
    scripted_scores([scores[step] for step in (2, 4, 5, 6, 8)])
    train(with_training(config, max_steps=5), tmp_path / "two")
    train(config, tmp_path / "two")
    steps = [[line["step"] for line in comparable_metrics(tmp_path / name, ["valid"])] for name in ("one", "two")]
    assert steps == [[2, 4, 6, 8], [2, 4, 5, 6, 8]]
    for name in ("one", "two"):
        assert load_run(tmp_path / name).step == 2
    rates = [[line["lr"] for line in comparable_metrics(tmp_path / name, ["train"])] for name in ("one", "two")]
    assert rates[0] == rates[1]
    assert "the learning rate goes on" not in caplog.text


def test_a_longer_training_reports_a_rate_that_rises_again(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    optim = OptimConfig(optimizer=AdamConfig(lr=0.01), schedule=LinearScheduleConfig())
    config = tiny_config(corpus, optim=optim, max_steps=4, valid_every=4, log_every=1)
    run_dir = train(config, tmp_path / "run")
    train(with_training(config, max_steps=8), run_dir)
    assert "`training.max_steps` 4 -> 8: the learning rate goes on with 0.005 instead of 0, because" in caplog.text
    assert comparable_metrics(run_dir, ["train"])[4]["lr"] == 0.005


def test_metrics_after_the_last_log_line_are_written_at_the_end(
    corpus: Path, tmp_path: Path, scripted_scores: Callable[[list[float]], None]
) -> None:
    run_dir = train(tiny_config(corpus, max_steps=7, valid_every=7, log_every=4), tmp_path / "steps")
    lines = comparable_metrics(run_dir, ["train", "valid"])
    assert [(line["kind"], line["step"]) for line in lines] == [("train", 4), ("valid", 7), ("train", 7)]
    train(tiny_config(corpus, max_steps=7, valid_every=7, log_every=4), run_dir)
    assert comparable_metrics(run_dir, ["train", "valid"]) == lines  # also after resuming a finished run
    scripted_scores([3.0, 2.0])
    config = tiny_config(corpus, max_steps=20, valid_every=3, log_every=4, patience=1, valid_metric="bleu")
    lines = comparable_metrics(train(config, tmp_path / "patience"), ["train"])
    assert [line["step"] for line in lines] == [4, 6]


def test_checkpoints_that_are_not_needed_are_deleted(
    corpus: Path, tmp_path: Path, scripted_scores: Callable[[list[float]], None]
) -> None:
    scripted_scores([9.0, 1.0, 2.0, 3.0])
    optim = OptimConfig(optimizer=AdamConfig(), average_last=3)
    config = tiny_config(corpus, optim=optim, max_steps=16, save_every=2, valid_every=4, valid_metric="bleu")
    run_dir = train(config, tmp_path / "run")
    assert checkpoint_steps(run_dir / "checkpoints") == [4, 12, 14, 16]


def test_max_minutes_counts_the_time_before_a_resume(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace_clock(monkeypatch, advancing_clock(seconds=30))
    config = tiny_config(corpus, optim=ADAM, max_steps=100, valid_every=50, max_minutes=3.0)
    with caplog.at_level("INFO"):
        run_dir = train(config, tmp_path / "run")
    [valid] = comparable_metrics(run_dir, ["valid"])
    steps = valid["step"]
    assert 2 <= steps <= 6
    assert f"`training.max_minutes` (3) was reached after {steps} of 100 steps" in caplog.text
    assert checkpoint_steps(run_dir / "checkpoints")[-1] == steps
    train(config, run_dir)  # nothing to do: the time is used up
    assert len(comparable_metrics(run_dir, ["valid"])) == 1
    train(with_training(config, max_minutes=6.0), run_dir)
    assert steps < comparable_metrics(run_dir, ["valid"])[-1]["step"] < 3 * steps


@pytest.mark.parametrize(("max_steps", "warmup_steps"), [(30, 4), (10_000, 4), (100_000, 600)])
def test_a_decaying_schedule_reaches_zero_at_the_time_limit(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_steps: int, warmup_steps: int
) -> None:
    """The learning rate reaches 0 at the first limit: about 40 steps by `max_minutes`, or 30 by `max_steps`."""
    replace_clock(monkeypatch, advancing_clock(seconds=30))
    optim = OptimConfig(optimizer=AdamConfig(lr=1e-3), schedule=LinearScheduleConfig(warmup_steps=warmup_steps))
    config = tiny_config(corpus, optim=optim, max_steps=max_steps, valid_every=100_000, log_every=1, max_minutes=60.0)
    lrs = [line["lr"] for line in comparable_metrics(train(config, tmp_path / "run"), ["train"])]
    assert len(lrs) == 30 if max_steps == 30 else 30 < len(lrs) < 60
    schedule = LinearScheduleConfig(warmup_steps=4)  # at most a tenth of the steps that fit into the time
    expected = [schedule.lr_at(1e-3, step, len(lrs)) for step in range(len(lrs))]
    assert lrs == pytest.approx(expected, abs=2e-4)
    assert lrs[-1] < 5e-5


def test_time_limit_reached_in_validation_ends_the_run_and_its_restarts(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def slow_validation(self: TranslationTask, run: Any, weights: Any) -> Validation:
        now[0] += 600
        return validation_of(1.0)

    replace_clock(monkeypatch, lambda: now[0])
    monkeypatch.setattr(TranslationTask, "validate", slow_validation)
    config = tiny_config(corpus, optim=ADAM, max_steps=20, valid_every=4, max_minutes=5.0)
    run_dir = train(config, tmp_path / "run")
    train(config, run_dir)
    assert [line["step"] for line in comparable_metrics(run_dir, ["valid"])] == [4]


class FullDisk:
    """Let all writes but the first `num_successful` ones fail; None: count them and let none fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_successful: int | None, code: int = errno.ENOSPC) -> None:
        self.calls, self.num_successful, self.code = 0, num_successful, code
        monkeypatch.setattr(os, "fsync", self.wrap(os.fsync))
        monkeypatch.setattr(named_files._RawFile, "write", self.wrap(named_files._RawFile.write))

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.num_successful is not None and self.calls > self.num_successful:
                raise OSError(self.code, os.strerror(self.code))
            return function(*arguments, **options)

        return call


def test_a_disk_full_at_any_write_is_reported_and_loses_no_checkpoint(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, optim=ADAM, max_steps=4, save_every=2, valid_every=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = FullDisk(monkeypatch, None)
        uninterrupted = train(config, tmp_path / "uninterrupted")
        num_writes = disk.calls
    assert num_writes > 20
    run_dir, messages = tmp_path / "run", set[str]()
    for point in range(1, num_writes, 2):
        with pytest.MonkeyPatch.context() as monkeypatch:
            code = errno.EDQUOT if point % 4 == 1 else errno.ENOSPC  # the quota of the user, or the disk
            FullDisk(monkeypatch, point % 12 if run_dir.exists() else point, code)
            try:
                train(config, run_dir)
            except OSError as error:
                message = str(error)
            else:
                break
        assert re.search(rf"The disk of .*run is full \([\d.]+ MB free; {os.strerror(code)}\): ", message)
        steps = checkpoint_steps(run_dir / "checkpoints")
        if steps:
            assert f"the last complete checkpoint is {run_dir}/checkpoints/step_{steps[-1]:08d}. Free space" in message
            assert message.endswith("it continues there.")
        else:
            assert "there is no checkpoint yet. Free space" in message
        assert not list(run_dir.glob("checkpoints/*.tmp"))
        messages.add(message)
    train(config, run_dir)
    assert_equal_runs(run_dir, uninterrupted)
    assert messages


def test_other_os_errors_are_not_changed(corpus: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        FullDisk(monkeypatch, 5, errno.EIO)
        with pytest.raises(OSError, match="Input/output error") as raised:
            train(tiny_config(corpus, max_steps=2), tmp_path / "run")
    assert raised.value.errno == errno.EIO


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_out_of_memory_names_the_option_to_lower(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(seqlab.training.loop, "start_update", fail)
    with pytest.raises(MemoryError, match=r"ran out in step 1: lower `data.micro_batch_tokens` \(now 40\)"):
        train(tiny_config(corpus), tmp_path / "run")


def test_out_of_memory_while_counting_names_the_option_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(seqlab.training.loop, "fit_count_based", fail)
    config = tiny_text_config(write_text(tmp_path, ["one", "two"]), model=NgramConfig(order=7), optim=OptimConfig())
    with pytest.raises(MemoryError, match=r"ran out while counting: lower `model.order` \(now 7\)"):
        train(config, tmp_path / "run")


def test_other_runtime_errors_are_not_changed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(seqlab.training.loop, "start_update", fail)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        train(tiny_config(corpus), tmp_path / "run")
