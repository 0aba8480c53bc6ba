"""The real command line, in processes of its own."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from reference.tiny_runs import tiny_config, write_numbers

from seqlab.runs.config import write_config

SEQLAB = [sys.executable, "-m", "seqlab.cli.main"]


def seqlab(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end; fail the test where it fails."""
    done = subprocess.run([*SEQLAB, *map(str, arguments)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done


class Training:
    """A `seqlab train` process over one config."""

    def __init__(
        self, config_file: Path, run_dir: Path, command: Sequence[str] = SEQLAB, options: Sequence[str] = ()
    ) -> None:
        self.run_dir = run_dir
        self.process = subprocess.Popen(
            [*command, "train", str(config_file), "--run_dir", str(run_dir), "--threads", "1", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Look every millisecond; tell whether the condition came true before the process ended."""
        while self.process.poll() is None:
            if condition():
                return True
            time.sleep(0.001)
        return False

    def finish(self) -> tuple[int, bytes, str]:
        """Wait for its end; return status, standard output and standard error."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err.decode()

    def signal(self, number: int) -> tuple[int, bytes, str]:
        """Send a signal and wait for its end."""
        self.process.send_signal(number)
        return self.finish()


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a corpus and the config of a run of a hundred steps."""
    folder = tmp_path_factory.mktemp("system")
    write_numbers(folder / "corpus", range(1, 130))
    config = tiny_config(folder / "corpus", max_steps=100, log_every=2, save_every=5, valid_every=20)
    write_config(config, folder / "tiny.yaml")
    return folder / "tiny.yaml"


@pytest.fixture(scope="session")
def uninterrupted(config_file: Path) -> tuple[Path, float]:
    """Give the folder of a run that nothing disturbed, and how many seconds it took."""
    started = time.monotonic()
    training = Training(config_file, config_file.with_name("uninterrupted"))
    status, out, err = training.finish()
    assert (status, out) == (0, b""), err
    return training.run_dir, time.monotonic() - started
