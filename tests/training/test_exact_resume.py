"""A run that was ended, at any moment, ends bit for bit like one that was not; on one CPU."""

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
def test_stopped_and_continued(corpus: Path, tmp_path: Path, optim: OptimConfig) -> None:
    config = tiny_config(corpus, optim=optim, max_steps=16)
    whole, parts = train(config, tmp_path / "whole"), tmp_path / "parts"
    # Before the first checkpoint, between log lines and checkpoints, at a validation, and in an epoch after the first.
    for step in (2, 7, 8, 13):
        interrupted = train_until(config, parts, step)
        assert f"after step {step} " in str(interrupted)
        assert checkpoint_steps(parts / "checkpoints")[-1] == step
    train(config, parts)
    assert_equal_runs(parts, whole)
    events = [line for line in RunFolder(parts).read_metrics() if line["kind"] == "event"]
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
def test_what_is_shown_is_drawn_as_before(
    corpus: Path, tmp_path: Path, model: type[TransformerNatConfig], objective: ObjectiveConfig
) -> None:
    small = model(d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1)
    config = replace(tiny_config(corpus, max_steps=10), model=small, objective=objective)
    whole, parts = train(config, tmp_path / "whole"), tmp_path / "parts"
    train_until(config, parts, 7)
    train(config, parts)
    assert_equal_runs(parts, whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"prefetch_steps": 0}},
        {"data": {"subword_sampling": 0.0, "joint_vocabulary": False}, "model": {"tied_embeddings": "none"}},
        {  # the validation set is decoded up to the model's `max_length`, which is less than the search's own limit
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
def test_whatever_the_setting(corpus: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = tiny_config(corpus, **({"max_steps": 10} | changes))
    whole, parts = train(config, tmp_path / "whole"), tmp_path / "parts"
    train_until(config, parts, 7)
    train(config, parts)
    assert_equal_runs(parts, whole)


SAMPLED = ScheduledSamplingConfig(mixture="sampled", least_reference=0.2, decay_steps=5)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "model": LstmConfig(hidden_size=16, copying=True, embedding_dropout=0.1),
            "objective": CrossEntropyConfig(guided_attention=1.0),
        },
        {"model": GruConfig(hidden_size=16, embedding_dropout=0.1), "objective": SAMPLED},
        {"objective": SAMPLED},
    ],
    ids=["an LSTM that copies", "a GRU that reads what it says", "a Transformer that does"],
)
def test_whatever_is_learnt(corpus: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = replace(tiny_config(corpus, max_steps=10), **changes)
    whole, parts = train(config, tmp_path / "whole"), tmp_path / "parts"
    train_until(config, parts, 7)
    train(config, parts)
    assert_equal_runs(parts, whole)


def test_raising_max_steps_is_as_if_it_had_been_so_from_the_start(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, max_steps=16)
    whole = train(config, tmp_path / "whole")
    parts = train(with_training(config, max_steps=8), tmp_path / "parts")
    assert checkpoint_steps(parts / "checkpoints")[-1] == 8
    train(config, parts)
    assert_equal_runs(parts, whole)


def test_a_finished_run_is_left_as_it_is(trained: tuple[Any, Path], tmp_path: Path) -> None:
    config, origin = trained
    run_dir = Path(shutil.copytree(origin, tmp_path / "run"))
    train(config, run_dir)
    assert_equal_runs(run_dir, origin)


def test_prefetching_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    for steps in (0, 5):
        train(tiny_config(corpus, max_steps=6, data={"prefetch_steps": steps}), tmp_path / str(steps))
    assert_equal_runs(tmp_path / "0", tmp_path / "5")


def test_another_seed_is_another_run(corpus: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        train(tiny_config(corpus, max_steps=3, seed=seed), tmp_path / str(seed))
    assert comparable_metrics(tmp_path / "1") != comparable_metrics(tmp_path / "2")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_answered_after_the_step(corpus: Path, tmp_path: Path, number: int) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    interrupted = train_until(tiny_config(corpus), tmp_path / "run", 3, number)
    assert interrupted.signal_number == number
    assert signal.Signals(number).name in str(interrupted)
    assert checkpoint_steps(tmp_path / "run" / "checkpoints") == [3]
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_signal_in_validation_or_in_saving_loses_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(corpus, max_steps=12)
    whole = train(config, tmp_path / "whole")
    for name, step in (("validate", 8), ("save", 5)):
        parts = tmp_path / name
        with monkeypatch.context() as patch:
            owner: type = TranslationTask if name == "validate" else seqlab.training.loop.TrainingRun
            original = getattr(owner, name)

            def signalled(*arguments: Any, original: Callable[..., Any] = original) -> Any:
                signal.raise_signal(signal.SIGTERM)
                return original(*arguments)

            patch.setattr(owner, name, signalled)
            with pytest.raises(Interrupted, match=f"after step {step} with a checkpoint"):
                train(config, parts)
        assert checkpoint_steps(parts / "checkpoints")[-1] == step
        train(config, parts)
        assert_equal_runs(parts, whole)


class Snapshots:
    """Copy a run folder whenever something is about to happen to it: each copy is what a SIGKILL would leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run_dir: Path, folder: Path) -> None:
        self.run_dir, self.folder, self.names, self.busy = run_dir, folder, list[str](), False
        owners: list[tuple[Any, str]] = [
            *((os, name) for name in ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink", "ftruncate")),
            (seqlab.training.loop, "start_update"),
            (TranslationTask, "validate"),
        ]
        for owner, name in owners:
            monkeypatch.setattr(owner, name, self.watched(name, getattr(owner, name)))

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self.busy and self.run_dir.is_dir():
                self.busy = True
                shutil.copytree(self.run_dir, self.folder / f"{len(self.names)}")
                self.names.append(name)
                self.busy = False
            return function(*arguments, **options)

        return call


@pytest.fixture
def snapshots(corpus: Path, tmp_path: Path) -> tuple[Any, Path, list[Path]]:
    """Train once; give the config, the run folder and all its moments."""
    config = tiny_config(corpus, max_steps=8, save_every=2, valid_every=4, data={"prefetch_steps": 0})
    whole = tmp_path / "whole"
    with pytest.MonkeyPatch.context() as monkeypatch:
        taken = Snapshots(monkeypatch, whole, tmp_path / "snapshots")
        train(config, whole)
    assert {"fsync", "rename", "replace", "start_update", "validate"} <= set(taken.names)
    return config, whole, [tmp_path / "snapshots" / str(number) for number in range(len(taken.names))]


def continue_all(config: Any, whole: Path, moments: list[Path]) -> None:
    for moment in moments:
        train(config, moment)
        assert_equal_runs(moment, whole)
        names = {path.name for path in (moment / "checkpoints").iterdir()}
        assert names == {path.name for path in (whole / "checkpoints").iterdir()}, "leftovers"


def test_a_kill_at_some_writes(snapshots: tuple[Any, Path, list[Path]]) -> None:
    config, whole, moments = snapshots
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chosen = sorted(random.Random(seed).sample(range(len(moments)), 6))
    continue_all(config, whole, [moments[number] for number in chosen])


@pytest.mark.slow
def test_a_kill_at_every_write(snapshots: tuple[Any, Path, list[Path]]) -> None:
    config, whole, moments = snapshots
    continue_all(config, whole, moments)


def test_the_comparison_sees_a_difference_of_one_bit(trained: tuple[Any, Path], tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(trained[1], tmp_path / "run"))
    path = next((run_dir / "checkpoints").rglob("state.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(AssertionError):
        assert_equal_runs(run_dir, trained[1])
