"""Exact resume after signals, bit for bit; `tests/contracts` shows it for all families and settings."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.shared import SharedFolder
from reference.tiny_runs import assert_equal_runs, comparable_metrics, tiny_config, with_training

import seqlab.training.loop
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RunFolder
from seqlab.tasks.translation.task import TranslationTask
from seqlab.training import Interrupted, train

from .conftest import train_until


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, shared: SharedFolder) -> Path:
    """Train 16 steps without interruption; return the run folder."""
    return (
        shared.build("uninterrupted", lambda folder: train(tiny_config(corpus, max_steps=16), folder / "run")) / "run"
    )


def test_resuming_after_signals_at_any_step_is_exact(corpus: Path, tmp_path: Path, uninterrupted: Path) -> None:
    """A signal writes a checkpoint between two regular ones; the average is only over regular ones."""
    config, resumed = tiny_config(corpus, max_steps=16), tmp_path / "resumed"
    # Before the first checkpoint, between log lines and checkpoints, at a validation, and in a later epoch.
    for step in (2, 7, 8, 13):
        interrupted = train_until(config, resumed, step)
        assert f"after step {step} " in str(interrupted)
        assert checkpoint_steps(resumed / "checkpoints")[-1] == step
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)
    events = [line for line in RunFolder(resumed).read_metrics() if line["kind"] == "event"]
    assert [event["step"] for event in events] == [2, 7, 8, 13]


def test_raising_max_steps_equals_a_longer_run_from_the_start(
    corpus: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    config = tiny_config(corpus, max_steps=16)
    resumed = train(with_training(config, max_steps=8), tmp_path / "resumed")
    assert checkpoint_steps(resumed / "checkpoints")[-1] == 8
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)


def test_a_finished_run_is_not_changed(translator: tuple[Any, Path], tmp_path: Path) -> None:
    config, origin = translator
    run_dir = Path(shutil.copytree(origin, tmp_path / "run"))
    train(config, run_dir)
    assert_equal_runs(run_dir, origin)


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
    corpus: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(corpus, max_steps=16)
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


def test_run_comparison_detects_one_flipped_bit(translator: tuple[Any, Path], tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(translator[1], tmp_path / "run"))
    path = next((run_dir / "checkpoints").rglob("state.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(AssertionError):
        assert_equal_runs(run_dir, translator[1])
