"""One trial of an attack: run a command in a forked process with limits of time and memory, and find its faults."""

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
"""Documented exit statuses."""
MAX_SECONDS = 60.0
MAX_MEMORY_BYTES = 3 << 30
"""Limit for a command on tiny models."""
MAX_MESSAGE_CHARACTERS = 400
"""Length of the excerpt of standard error in a report."""


@dataclass(frozen=True)
class Outcome:
    """Exit status, output and resource usage of a command."""

    status: int
    """The exit status; the negative number of the signal if one ended the process."""
    stdout: bytes
    stderr: str
    seconds: float
    peak_memory: int
    """Maximum resident set size in bytes."""
    timed_out: bool = False

    @property
    def fault(self) -> str | None:
        """Return what is wrong with the outcome, independent of the input; None if nothing is."""
        if self.timed_out:
            return f"no end within {MAX_SECONDS:.0f} s"
        if "Traceback (most recent call last)" in self.stderr:
            return f"traceback: {self.stderr.strip().splitlines()[-1][:MAX_MESSAGE_CHARACTERS]}"
        if self.status not in STATUSES:
            return f"status {self.status}"
        if self.peak_memory > MAX_MEMORY_BYTES:
            return f"{self.peak_memory / 1e9:.1f} GB of memory"
        if self.status not in (0, 3, 128 + signal.SIGPIPE) and "seqlab: " not in self.stderr:
            return f"status {self.status} without a message"
        return None

    @property
    def message(self) -> str:
        """Return the last line of standard error."""
        return (self.stderr.strip().splitlines() or [""])[-1][:MAX_MESSAGE_CHARACTERS]


def run(argv: Sequence[str], *, folder: Path, stdin: bytes = b"", seconds: float = MAX_SECONDS) -> Outcome:
    """Run `seqlab ARGV` in a folder, in a process forked from this one, where torch is already imported."""
    with tempfile.TemporaryFile() as stdin_file, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin_file.write(stdin)
        stdin_file.seek(0)
        started = time.monotonic()
        process = os.fork()
        if process == 0:
            _run_in_child(argv, folder, stdin_file, out, err)
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


def _run_in_child(argv: Sequence[str], folder: Path, stdin_file: BinaryIO, out: BinaryIO, err: BinaryIO) -> None:
    """Run the command in the forked process and exit with its status; does not return."""
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        for number, stream in enumerate((stdin_file, out, err)):
            os.dup2(stream.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (6 * MAX_MEMORY_BYTES, 6 * MAX_MEMORY_BYTES))
        from seqlab.cli.main import main

        status = main(list(argv))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _wait(process: int, deadline: float) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for a process; kill it and its children at the deadline."""
    timed_out = False
    while True:
        has_ended, status, usage = os.wait4(process, os.WNOHANG)
        if has_ended:
            return status, usage, timed_out
        if time.monotonic() > deadline and not timed_out:
            timed_out = True
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.002)
