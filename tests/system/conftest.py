"""Helpers and fixtures that run the command line in this process or in new processes."""

import io
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from reference.processes import CommandProcess
from reference.tiny_runs import tiny_config, write_numbers

from seqlab.cli.main import main
from seqlab.runs.config import write_config


@dataclass(frozen=True)
class CommandOutput:
    """Standard output and standard error of a command."""

    stdout: bytes
    stderr: bytes


def run_in_process(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, CommandOutput]:
    """Run a seqlab command in this process; return its exit status and output."""
    out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
    with (
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            status = main([str(argument) for argument in arguments])
        finally:
            logging.getLogger().handlers.clear()  # they write to this call's standard error
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return status, CommandOutput(buffer.getvalue(), err.getvalue().encode())


def run_command(*arguments: str | Path, stdin: bytes = b"") -> CommandOutput:
    """Run a seqlab command in this process, and return its output; fail the test if the command fails."""
    status, done = run_in_process(*arguments, stdin=stdin)
    assert status == 0, done.stderr.decode()
    return done


class TrainingProcess(CommandProcess):
    """A `seqlab train` process with a config file."""

    def __init__(self, config_file: Path, run_dir: Path, options: Sequence[str] = ()) -> None:
        self.run_dir = run_dir
        super().__init__(["train", config_file, "--run_dir", run_dir, "--threads", "1", *options])

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Poll every millisecond; return whether the condition became true before the process ended."""
        while self.is_running:
            if condition():
                return True
            time.sleep(0.001)
        return False

    def signal_and_finish(self, number: int) -> tuple[int, bytes, str]:
        """Send a signal and wait until the process ends; return the same as `finish`."""
        self.signal(number)
        return self.finish()


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a corpus and the config of a run of 60 steps."""
    folder = tmp_path_factory.mktemp("system")
    write_numbers(folder / "corpus", range(1, 130))
    config = tiny_config(folder / "corpus", max_steps=60, log_every=2, save_every=5, valid_every=20)
    write_config(config, folder / "tiny.yaml")
    return folder / "tiny.yaml"


@pytest.fixture(scope="session")
def uninterrupted(config_file: Path) -> tuple[Path, float]:
    """Train without interruption; return the run folder and the time in seconds."""
    started = time.monotonic()
    training = TrainingProcess(config_file, config_file.with_name("uninterrupted"))
    status, out, err = training.finish()
    assert (status, out) == (0, b""), err
    return training.run_dir, time.monotonic() - started
