"""Runs that a signal stops during a step."""

import signal
from pathlib import Path
from typing import Any

import pytest

import seqlab.training.loop
from seqlab.objectives import StepContext
from seqlab.runs.config import Config
from seqlab.training import Interrupted, train


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Make training send signal `number` to this process during a step."""
    start_update = seqlab.training.loop.start_update

    def start_update_with_signal(
        accumulator: Any, optimizer: Any, micro_steps: Any, context: StepContext, *arguments: Any
    ) -> Any:
        if context.step + 1 == step:
            signal.raise_signal(number)
        return start_update(accumulator, optimizer, micro_steps, context, *arguments)

    monkeypatch.setattr(seqlab.training.loop, "start_update", start_update_with_signal)


def train_until(config: Config, run_dir: Path, step: int, number: int = signal.SIGTERM) -> Interrupted:
    """Train until signal `number` during a step stops the run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_at(monkeypatch, step, number)
        with pytest.raises(Interrupted) as raised:
            train(config, run_dir)
    return raised.value
