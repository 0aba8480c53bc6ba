"""Run folders with random weights, and a fixture that runs the command line in this process."""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from reference.processes import FORKSERVER
from reference.random_runs import write_run

from seqlab.cli.main import main
from seqlab.models import RecurrentConfig
from seqlab.runs.config import Config, config_text, write_config
from seqlab.runs.folder import RunFolder


@dataclass(frozen=True)
class Result:
    """Exit status and output of a command."""

    status: int
    out: bytes
    err: str


Command = Callable[..., Result]


@pytest.fixture
def seqlab(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Command:
    """Return a function that runs a seqlab command in this process, with bytes as standard input."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main([str(argument) for argument in arguments])
        logging.getLogger().handlers.clear()  # they write to this test's standard error
        captured = capfdbinary.readouterr()
        return Result(status, captured.out, captured.err.decode())

    return run


def start_command(argv: Sequence[str | Path], stdin: Path, out: Path, errors: Path) -> BaseProcess:
    """Start a seqlab command in a process of its own whose streams are files, named pipes or a terminal."""
    process = FORKSERVER.Process(target=_run_with_streams, args=(list(map(str, argv)), stdin, out, errors))
    process.start()
    return process


def _run_with_streams(argv: list[str], stdin: Path, out: Path, errors: Path) -> None:
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    for path, descriptor in ((out, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdin = os.fdopen(0)  # the process was started without one
    sys.argv[1:] = argv
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from seqlab.__main__ import run

    sys.exit(run())


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a run folder. Tests must not change it."""
    return write_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def other_run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a second run folder with the same vocabulary."""
    return write_run(tmp_path_factory.mktemp("runs") / "other", seed=2)


@pytest.fixture(scope="session")
def recurrent_run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the run folder of a recurrent model with copying and the same vocabulary."""
    return write_run(
        tmp_path_factory.mktemp("runs") / "recurrent",
        model=RecurrentConfig(family="lstm", hidden_size=16, copying=True),
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Change to an empty folder, replace training, and return the arguments of its calls."""
    found: list[dict[str, Any]] = []

    def train(config: Config | Callable[[Path], Config], run_dir: Path, **options: Any) -> Path:
        if not isinstance(config, Config):
            is_overwritten = options["overwrite"] and RunFolder(run_dir).exists()
            config = config(tmp_path / "new" if is_overwritten else run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(run_dir)
        if folder.exists():
            folder.replace_config(config_text(config), folder.read_description())
        else:
            write_config(config, folder.config_file)
        found.append({"config": config, "run_dir": run_dir, **options})
        return run_dir

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqlab.training.train", train)
    return found
