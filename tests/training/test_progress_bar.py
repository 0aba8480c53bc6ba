"""Progress bar of training: steps, remaining time, loss and speed fit into 80 columns."""

import io
import re
import sys

import pytest

from seqlab.runs.config import TrainingConfig
from seqlab.training.progress_bar import ProgressBar
from seqlab.training.state import Progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("step", "max_steps"), [(3, 10), (1234, 15_000), (999_999, 1_000_000)])
def test_the_progress_bar_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch, step: int, max_steps: int) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress()
    values = {"step": step, "epoch": 2.5, "minutes": 83.0, "lr": 1e-3, "loss": 12.345, "tgt_tokens_per_second": 123_456}
    with ProgressBar(TrainingConfig(max_steps=max_steps), progress, is_visible=True) as bar:
        progress.step, progress.minutes = step, 83.0
        bar.show_training(progress, values)
        bar.advance(progress)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    [*_, last] = [line for line in re.split(r"[\r\n]", plain) if line.strip()]
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]", plain))
    for field in (f"{step}/{max_steps}", "ends in ", "loss 12.345", "123,456 tokens/s"):
        assert field in last
