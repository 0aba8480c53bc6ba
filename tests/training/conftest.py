"""Shared fixtures and functions: a copy of a finished run, another corpus, clocks, failed steps."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from reference.stopped_runs import stop_at as stop_at
from reference.stopped_runs import train_until as train_until
from reference.tiny_runs import with_training, write_numbers

import seqlab.training.loop
from seqlab.objectives import StepContext
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.failure import read_failure
from seqlab.training.update import NonFiniteUpdate, update

Trained = tuple[Config, Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Restore the number of threads, which training changes for the process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def corpus(numbers: Path) -> Path:
    return numbers


@pytest.fixture
def run_dir(translator: Trained, tmp_path: Path) -> Path:
    """Return a copy of the finished run of 12 steps."""
    return Path(shutil.copytree(translator[1], tmp_path / "run"))


def replace_clock(monkeypatch: pytest.MonkeyPatch, monotonic: Callable[[], float]) -> None:
    """Let training measure time by another clock."""
    monkeypatch.setattr(seqlab.training.loop, "time", SimpleNamespace(monotonic=monotonic))


def advancing_clock(seconds: float) -> Callable[[], float]:
    """Return a clock that each call advances."""
    return partial(next, itertools.count(0.0, seconds))


def replay_failure(config: Config, failure: Path, step: int) -> tuple[list[Any], dict[str, torch.Tensor], str]:
    """Repeat a failed step from its saved files; return its micro-steps, its carried state and the error."""
    weights, micro_steps, carry, _ = read_failure(failure)
    model = config.model.build(*load_tokenizers(RunFolder(failure.parents[1]))).train()
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights[name])
    device_context = DeviceContext(torch.device("cpu"), torch.float32)
    accumulator = Accumulator(model, config.objective.build(), device_context, config.seed)
    accumulator.restore_carry(carry)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(NonFiniteUpdate) as raised:
        update(accumulator, optimizer, micro_steps, StepContext(step - 1), 0.1, None)
    return micro_steps, carry, str(raised.value)


def with_16_steps(config: Config) -> Config:
    """Extend the training of the finished run from 12 to 16 steps."""
    return with_training(config, max_steps=16)


def read_files(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder; return their content by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit_description(run_dir: Path, **changes: Any) -> None:
    """Replace entries of run.json."""
    folder = RunFolder(run_dir)
    folder.write_description(folder.read_description() | changes)


@pytest.fixture
def other_corpus(tmp_path: Path) -> Path:
    write_numbers(tmp_path / "other", range(200, 260))
    return tmp_path / "other"
