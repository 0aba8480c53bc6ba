"""Run a command in a forked process with limits of time and memory, and judge how it ended."""

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

STATUSES = (0, 1, 2, 3, 128 + signal.SIGINT, 128 + signal.SIGPIPE, 128 + signal.SIGTERM)
"""Exit statuses that are documented."""
MOST_SECONDS = 60.0
MOST_MEMORY = 3 << 30
"""Bytes that a command on tiny models may take."""
SHOWN = 400
"""Characters of standard error in a report."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    """The exit status; negative for the signal that ended the process."""
    stdout: bytes
    stderr: str
    seconds: float
    peak_memory: int
    """Bytes in RAM at most."""
    timed_out: bool = False

    @property
    def fault(self) -> str | None:
        """Return what is wrong with the end, whatever the input was; None where nothing is."""
        if self.timed_out:
            return f"no end within {MOST_SECONDS:.0f} s"
        if "Traceback (most recent call last)" in self.stderr:
            return f"traceback: {self.stderr.strip().splitlines()[-1][:SHOWN]}"
        if self.status not in STATUSES:
            return f"status {self.status}"
        if self.peak_memory > MOST_MEMORY:
            return f"{self.peak_memory / 1e9:.1f} GB of memory"
        if self.status not in (0, 3, 128 + signal.SIGPIPE) and "seqlab: " not in self.stderr:
            return f"status {self.status} without a message"
        return None

    @property
    def message(self) -> str:
        """Return the last line of standard error."""
        return (self.stderr.strip().splitlines() or [""])[-1][:SHOWN]


def run(argv: Sequence[str], *, folder: Path, stdin: bytes = b"", seconds: float = MOST_SECONDS) -> Outcome:
    """Run `seqlab ARGV` in a folder, in a process that is forked from this one and so has torch in memory already."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        started = time.monotonic()
        process = os.fork()
        if process == 0:
            _be_command(argv, folder, given, out, err)
        status, usage, timed_out = _wait(process, started + seconds)
        contents = []
        for stream in (out, err):
            stream.seek(0)
            contents.append(stream.read())
        return Outcome(
            os.waitstatus_to_exitcode(status),
            contents[0],
            contents[1].decode("utf-8", "backslashreplace"),
            time.monotonic() - started,
            usage.ru_maxrss * 1024,
            timed_out,
        )


def _be_command(argv: Sequence[str], folder: Path, given: BinaryIO, out: BinaryIO, err: BinaryIO) -> None:
    """Become the command; does not return."""
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        for number, stream in enumerate((given, out, err)):
            os.dup2(stream.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (6 * MOST_MEMORY, 6 * MOST_MEMORY))
        from seqlab.cli.main import main

        status = main(list(argv))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _wait(process: int, deadline: float) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for the end of a process and its children, which are killed at the deadline."""
    timed_out = False
    while True:
        found, status, usage = os.wait4(process, os.WNOHANG)
        if found:
            return status, usage, timed_out
        if time.monotonic() > deadline and not timed_out:
            timed_out = True
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.002)
