"""Exact resume on one CPU: a run interrupted at any moment equals an uninterrupted one bit for bit."""

import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import assert_equal_runs, comparable_metrics, tiny_config, with_training

import seqlab.training.loop
from seqlab.models import (
    GruConfig,
    LstmConfig,
    TransformerCmlmConfig,
    TransformerCtcConfig,
    TransformerNatConfig,
)
from seqlab.objectives import (
    CmlmConfig,
    CrossEntropyConfig,
    CtcConfig,
    ObjectiveConfig,
    ParallelCrossEntropyConfig,
    ScheduledSamplingConfig,
)
from seqlab.optim import (
    AdamConfig,
    AdamWConfig,
    CosineScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    OptimConfig,
    RAdamConfig,
    SgdConfig,
)
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RunFolder
from seqlab.tasks.translation.task import TranslationTask
from seqlab.training import Interrupted, train

from .conftest import train_until

WARMUP = {"warmup_steps": 4}
OPTIMS = {
    "adam, mean of the last": OptimConfig(
        optimizer=AdamConfig(lr=3e-3), schedule=InverseSqrtScheduleConfig(**WARMUP), average_last=3
    ),
    "adamw, moving average": OptimConfig(
        optimizer=AdamWConfig(lr=3e-3, weight_decay=0.1), schedule=LinearScheduleConfig(**WARMUP), ema_decay=0.9
    ),
    "radam, no average": OptimConfig(optimizer=RAdamConfig(lr=3e-3), schedule=CosineScheduleConfig(**WARMUP)),
    "sgd, long mean": OptimConfig(optimizer=SgdConfig(lr=0.1), max_grad_norm=None, average_last=10),
    "sgd without momentum": OptimConfig(optimizer=SgdConfig(lr=0.1, momentum=0), ema_decay=0.5),
}


@pytest.mark.parametrize("optim", OPTIMS.values(), ids=OPTIMS)
def test_resuming_is_exact_with_every_optimizer(corpus: Path, tmp_path: Path, optim: OptimConfig) -> None:
    config = tiny_config(corpus, optim=optim, max_steps=16)
    uninterrupted, resumed = train(config, tmp_path / "uninterrupted"), tmp_path / "resumed"
    # Before the first checkpoint, between log lines and checkpoints, at a validation, and in a later epoch.
    for step in (2, 7, 8, 13):
        interrupted = train_until(config, resumed, step)
        assert f"after step {step} " in str(interrupted)
        assert checkpoint_steps(resumed / "checkpoints")[-1] == step
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)
    events = [line for line in RunFolder(resumed).read_metrics() if line["kind"] == "event"]
    assert [event["step"] for event in events] == [2, 7, 8, 13]


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        (TransformerCmlmConfig, CmlmConfig()),
        (TransformerNatConfig, ParallelCrossEntropyConfig(glancing=0.5)),
        (TransformerCtcConfig, CtcConfig(glancing=0.5)),
    ],
    ids=["cmlm", "nat", "ctc"],
)
def test_resuming_restores_the_random_choice_of_input_tokens(
    corpus: Path, tmp_path: Path, model: type[TransformerNatConfig], objective: ObjectiveConfig
) -> None:
    small = model(d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1)
    config = replace(tiny_config(corpus, max_steps=10), model=small, objective=objective)
    uninterrupted, resumed = train(config, tmp_path / "uninterrupted"), tmp_path / "resumed"
    train_until(config, resumed, 7)
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"prefetch_steps": 0}},
        {"data": {"subword_sampling": 0.0, "joint_vocabulary": False}, "model": {"tied_embeddings": "none"}},
        {  # validation is limited by the model's `max_length`, which is lower than the limit of the search
            "model": {
                "norm": "post",
                "positions": "learned",
                "max_length": 48,
                "attention_dropout": 0.1,
                "activation_dropout": 0.1,
            },
            "data": {"max_length": 47},
        },
        {"precision": "bf16"},
        {"threads": 2},
        {"keep_best": 3, "log_every": 1, "save_every": 5, "valid_every": 3},
    ],
    ids=str,
)
def test_resuming_is_exact_with_any_setting(corpus: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = tiny_config(corpus, **({"max_steps": 10} | changes))
    uninterrupted, resumed = train(config, tmp_path / "uninterrupted"), tmp_path / "resumed"
    train_until(config, resumed, 7)
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)


SCHEDULED_SAMPLING = ScheduledSamplingConfig(mixture="sampled", least_reference=0.2, decay_steps=5)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "model": LstmConfig(hidden_size=16, copying=True, embedding_dropout=0.1),
            "objective": CrossEntropyConfig(guided_attention=1.0),
        },
        {"model": GruConfig(hidden_size=16, embedding_dropout=0.1), "objective": SCHEDULED_SAMPLING},
        {"objective": SCHEDULED_SAMPLING},
    ],
    ids=["copying lstm", "gru, scheduled sampling", "transformer, scheduled sampling"],
)
def test_resuming_is_exact_with_any_model_and_objective(corpus: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = replace(tiny_config(corpus, max_steps=10), **changes)
    uninterrupted, resumed = train(config, tmp_path / "uninterrupted"), tmp_path / "resumed"
    train_until(config, resumed, 7)
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)


def test_raising_max_steps_equals_a_longer_run_from_the_start(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, max_steps=16)
    uninterrupted = train(config, tmp_path / "uninterrupted")
    resumed = train(with_training(config, max_steps=8), tmp_path / "resumed")
    assert checkpoint_steps(resumed / "checkpoints")[-1] == 8
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)


def test_a_finished_run_is_not_changed(trained: tuple[Any, Path], tmp_path: Path) -> None:
    config, origin = trained
    run_dir = Path(shutil.copytree(origin, tmp_path / "run"))
    train(config, run_dir)
    assert_equal_runs(run_dir, origin)


def test_prefetching_does_not_change_a_run(corpus: Path, tmp_path: Path) -> None:
    for steps in (0, 5):
        train(tiny_config(corpus, max_steps=6, data={"prefetch_steps": steps}), tmp_path / str(steps))
    assert_equal_runs(tmp_path / "0", tmp_path / "5")


def test_seeds_give_different_runs(corpus: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        train(tiny_config(corpus, max_steps=3, seed=seed), tmp_path / str(seed))
    assert comparable_metrics(tmp_path / "1") != comparable_metrics(tmp_path / "2")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_training_after_the_current_step(corpus: Path, tmp_path: Path, number: int) -> None:
    handlers = [signal.getsignal(signal_number) for signal_number in (signal.SIGTERM, signal.SIGINT)]
    interrupted = train_until(tiny_config(corpus), tmp_path / "run", 3, number)
    assert interrupted.signal_number == number
    assert signal.Signals(number).name in str(interrupted)
    assert checkpoint_steps(tmp_path / "run" / "checkpoints") == [3]
    assert [signal.getsignal(signal_number) for signal_number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_signal_during_validation_or_saving_loses_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(corpus, max_steps=12)
    uninterrupted = train(config, tmp_path / "uninterrupted")
    for name, step in (("validate", 8), ("save", 5)):
        resumed = tmp_path / name
        with monkeypatch.context() as patch:
            owner: type = TranslationTask if name == "validate" else seqlab.training.loop.TrainingRun
            original = getattr(owner, name)

            def interrupted(*arguments: Any, original: Callable[..., Any] = original) -> Any:
                signal.raise_signal(signal.SIGTERM)
                return original(*arguments)

            patch.setattr(owner, name, interrupted)
            with pytest.raises(Interrupted, match=f"after step {step} with a checkpoint"):
                train(config, resumed)
        assert checkpoint_steps(resumed / "checkpoints")[-1] == step
        train(config, resumed)
        assert_equal_runs(resumed, uninterrupted)


class Snapshots:
    """Copy a run folder before each operation on it: each copy is what a SIGKILL would leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run_dir: Path, folder: Path) -> None:
        self.run_dir, self.folder, self.operations, self.is_copying = run_dir, folder, list[str](), False
        owners: list[tuple[Any, str]] = [
            *((os, name) for name in ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink", "ftruncate")),
            (seqlab.training.loop, "start_update"),
            (TranslationTask, "validate"),
        ]
        for owner, name in owners:
            monkeypatch.setattr(owner, name, self.wrap(name, getattr(owner, name)))

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self.is_copying and self.run_dir.is_dir():
                self.is_copying = True
                shutil.copytree(self.run_dir, self.folder / f"{len(self.operations)}")
                self.operations.append(name)
                self.is_copying = False
            return function(*arguments, **options)

        return call


@pytest.fixture
def snapshots(corpus: Path, tmp_path: Path) -> tuple[Any, Path, list[Path]]:
    """Train once; return the config, the run folder and all snapshots of it."""
    config = tiny_config(corpus, max_steps=8, save_every=2, valid_every=4, data={"prefetch_steps": 0})
    uninterrupted = tmp_path / "uninterrupted"
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Snapshots(monkeypatch, uninterrupted, tmp_path / "snapshots")
        train(config, uninterrupted)
    assert {"fsync", "rename", "replace", "start_update", "validate"} <= set(recorder.operations)
    return config, uninterrupted, [tmp_path / "snapshots" / str(number) for number in range(len(recorder.operations))]


def resume_all(config: Any, uninterrupted: Path, copies: list[Path]) -> None:
    for run_copy in copies:
        train(config, run_copy)
        assert_equal_runs(run_copy, uninterrupted)
        names = {path.name for path in (run_copy / "checkpoints").iterdir()}
        assert names == {path.name for path in (uninterrupted / "checkpoints").iterdir()}, "leftovers"


def test_resuming_after_a_kill_at_random_operations(snapshots: tuple[Any, Path, list[Path]]) -> None:
    config, uninterrupted, copies = snapshots
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chosen = sorted(random.Random(seed).sample(range(len(copies)), 6))
    resume_all(config, uninterrupted, [copies[number] for number in chosen])


@pytest.mark.learning
def test_resuming_after_a_kill_at_every_operation(snapshots: tuple[Any, Path, list[Path]]) -> None:
    config, uninterrupted, copies = snapshots
    resume_all(config, uninterrupted, copies)


def test_run_comparison_detects_one_flipped_bit(trained: tuple[Any, Path], tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(trained[1], tmp_path / "run"))
    path = next((run_dir / "checkpoints").rglob("state.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(AssertionError):
        assert_equal_runs(run_dir, trained[1])
