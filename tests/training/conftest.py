"""A tiny corpus, and one run over it that others are compared with or begin from."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.tiny_runs import tiny_config, write_numbers

import seqlab.training.loop
from seqlab.objectives import StepContext
from seqlab.runs.config import Config
from seqlab.training import Interrupted, train


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Training sets the threads of the process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with train.en and train.de that no test changes."""
    folder = tmp_path_factory.mktemp("corpus")
    write_numbers(folder, range(1, 130))
    return folder


@pytest.fixture(scope="session")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """Give a finished run that no test changes, and its config."""
    config = tiny_config(corpus, max_steps=12, save_every=2, valid_every=4)
    return config, train(config, tmp_path_factory.mktemp("trained") / "run")


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send this process a signal within an update."""
    update = seqlab.training.loop.update

    def updated(accumulator: Any, optimizer: Any, micro_steps: Any, context: StepContext, *arguments: Any) -> Any:
        if context.step + 1 == step:
            signal.raise_signal(number)
        return update(accumulator, optimizer, micro_steps, context, *arguments)

    monkeypatch.setattr(seqlab.training.loop, "update", updated)


def train_until(config: Config, run_dir: Path, step: int, number: int = signal.SIGTERM) -> Interrupted:
    """Train, and stop by a signal in a step."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_at(monkeypatch, step, number)
        with pytest.raises(Interrupted) as raised:
            train(config, run_dir)
    return raised.value
