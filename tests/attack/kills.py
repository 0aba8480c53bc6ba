"""Signals at any moment: Ctrl-C ends with one line; after a kill the same command ends as if there had been none."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attack.files import Finding
from attack.options import BASES, shown
from attack.workspace import Workspace

ENDS = (128 + signal.SIGINT, -signal.SIGINT)
"""A shell tells both as 130: Python ends itself by the signal where it came while code was compiled."""
WRITERS: dict[str, Sequence[str]] = {
    "translate": (*BASES["translate"], "--output", "out"),
    "distill": ("runs/transformer", "--src", "corpora/numbers.en", "--out", "out", "--buffer_lines", "40"),
    "export": ("runs/ngram_lm", "--format", "arpa", "--out", "out"),
    "import": ("corpora/lm.arpa", "--run_dir", "out"),
    "train": (
        *("--data.train_src", "corpora/numbers.en", "--data.train_tgt", "corpora/numbers.de", "--run_dir", "out"),
        *("--training.max_steps", "40", "--training.save_every", "5", "--training.valid_every", "20", "--threads", "1"),
    ),
}
"""Command -> arguments with which it writes `out`."""


def start(argv: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "seqlab", *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_a_part(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for some seconds, or for the end."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


def interrupts(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Send SIGINT to a command and its children at a random moment: one line, status 130, or it had ended."""
    commands = {**BASES, **WRITERS}
    durations: dict[str, float] = {}
    for _ in range(count):
        command = rng.choice(list(commands))
        clear(workspace.folder)
        if command not in durations:
            started = time.monotonic()
            start([command, *commands[command]], workspace.folder).communicate()
            durations[command] = time.monotonic() - started
            clear(workspace.folder)
        process = start([command, *commands[command]], workspace.folder)
        moment = rng.uniform(0.3, durations[command])  # Python itself starts before
        wait_a_part(process, moment)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
        lines = [line for line in err.decode("utf-8", "backslashreplace").splitlines() if line.startswith("seqlab: ")]
        fault = None
        if b"Traceback" in err or b"Exception ignored" in err or b"Fatal" in err:
            fault = f"traceback: {err.decode('utf-8', 'backslashreplace').strip().splitlines()[-1]}"
        elif process.returncode not in (0, 2, *ENDS):
            fault = f"status {process.returncode}"
        elif process.returncode in ENDS and len(lines) != 1:
            fault = f"{len(lines)} lines"
        yield f"{shown([command, *commands[command]])} after {moment:.2f} s", fault


def kills(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Kill a command that writes at a random moment, up to three times: then it ends as if there had been no kill."""
    expected: dict[str, dict[str, bytes]] = {}
    durations: dict[str, float] = {}
    for _ in range(count):
        command = rng.choice(list(WRITERS))
        argv = [command, *WRITERS[command]]
        if command not in expected:
            clear(workspace.folder)
            started = time.monotonic()
            start(argv, workspace.folder).communicate()
            durations[command] = time.monotonic() - started
            expected[command] = written(workspace.folder, command)
        clear(workspace.folder)
        for _ in range(rng.randrange(1, 4)):
            process = start(argv, workspace.folder)
            wait_a_part(process, rng.uniform(0.5, durations[command]))
            is_done = process.poll() is not None
            if not is_done:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if is_done:
                break
        process = start(argv, workspace.folder)
        _, err = process.communicate()
        found = written(workspace.folder, command)
        fault = None
        is_there = (process.returncode == 2 and b"exists" in err) or b"there already" in err
        if process.returncode != 0 and not is_there:
            fault = f"status {process.returncode}: {err.decode('utf-8', 'backslashreplace').strip().splitlines()[-1:]}"
        elif found != expected[command]:
            fault = f"other files: {sorted(found.keys() ^ expected[command].keys()) or 'of other content'}"
        yield shown(argv), fault
    clear(workspace.folder)


def written(folder: Path, command: str) -> dict[str, bytes]:
    """Read what a command has written, times and caches left out; of an export, which has them, the names alone."""
    found = {}
    for path in sorted(folder.glob("out*")):
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and "/cache/" not in name:
                is_compared = file.suffix == ".safetensors" or command in ("translate", "distill")
                found[name] = file.read_bytes() if is_compared else b""
    return found


def clear(folder: Path) -> None:
    """Remove what was written."""
    for path in folder.glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
