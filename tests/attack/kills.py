"""Attacks by signals at random moments: Ctrl-C ends with one line; a killed command can be run again.

After SIGKILL, the same command must end with the same files as without it.
"""

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
from attack.options import WORKING_ARGUMENTS, format_command
from attack.workspace import Workspace

INTERRUPTED_STATUSES = (128 + signal.SIGINT, -signal.SIGINT)
"""Shells show both as 130. Python ends itself with the signal if it arrives while code is compiled."""
WRITING_COMMANDS: dict[str, Sequence[str]] = {
    "translate": (*WORKING_ARGUMENTS["translate"], "--output", "out"),
    "distill": ("runs/transformer", "--src", "corpora/numbers.en", "--out", "out", "--buffer_lines", "40"),
    "export": ("runs/ngram_lm", "--format", "arpa", "--out", "out"),
    "import": ("corpora/lm.arpa", "--run_dir", "out"),
    "train": (
        *("--data.train_src", "corpora/numbers.en", "--data.train_tgt", "corpora/numbers.de", "--run_dir", "out"),
        *("--training.max_steps", "40", "--training.save_every", "5", "--training.valid_every", "20", "--threads", "1"),
    ),
}
"""Command -> arguments; each writes to `out`."""


def start(argv: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command in a new session."""
    return subprocess.Popen(
        [sys.executable, "-m", "seqlab", *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_until_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until a process ends, at most for some seconds."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


def try_interrupts(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Send SIGINT to a command and its children at a random moment: it prints one line and ends with status 130.

    If the command has already ended, its own status is kept.
    """
    commands = {**WORKING_ARGUMENTS, **WRITING_COMMANDS}
    durations: dict[str, float] = {}
    for _ in range(count):
        command = rng.choice(list(commands))
        remove_outputs(workspace.folder)
        if command not in durations:
            started = time.monotonic()
            start([command, *commands[command]], workspace.folder).communicate()
            durations[command] = time.monotonic() - started
            remove_outputs(workspace.folder)
        process = start([command, *commands[command]], workspace.folder)
        delay = rng.uniform(0.3, durations[command])  # Python itself starts within 0.3 s
        wait_until_end(process, delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
        lines = [line for line in err.decode("utf-8", "backslashreplace").splitlines() if line.startswith("seqlab: ")]
        fault = None
        if b"Traceback" in err or b"Exception ignored" in err or b"Fatal" in err:
            fault = f"traceback: {err.decode('utf-8', 'backslashreplace').strip().splitlines()[-1]}"
        elif process.returncode not in (0, 2, *INTERRUPTED_STATUSES):
            fault = f"status {process.returncode}"
        elif process.returncode in INTERRUPTED_STATUSES and len(lines) != 1:
            fault = f"{len(lines)} lines"
        yield f"{format_command([command, *commands[command]])} after {delay:.2f} s", fault


def try_kills(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Kill a writing command at random moments, up to three times, then run it to its end: same files as without."""
    expected: dict[str, dict[str, bytes]] = {}
    durations: dict[str, float] = {}
    for _ in range(count):
        command = rng.choice(list(WRITING_COMMANDS))
        argv = [command, *WRITING_COMMANDS[command]]
        if command not in expected:
            remove_outputs(workspace.folder)
            started = time.monotonic()
            start(argv, workspace.folder).communicate()
            durations[command] = time.monotonic() - started
            expected[command] = read_outputs(workspace.folder, command)
        remove_outputs(workspace.folder)
        for _ in range(rng.randrange(1, 4)):
            process = start(argv, workspace.folder)
            wait_until_end(process, rng.uniform(0.5, durations[command]))
            is_done = process.poll() is not None
            if not is_done:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if is_done:
                break
        process = start(argv, workspace.folder)
        _, err = process.communicate()
        actual = read_outputs(workspace.folder, command)
        fault = None
        exists_already = (process.returncode == 2 and b"exists" in err) or b"there already" in err
        if process.returncode != 0 and not exists_already:
            fault = f"status {process.returncode}: {err.decode('utf-8', 'backslashreplace').strip().splitlines()[-1:]}"
        elif actual != expected[command]:
            fault = f"files differ: {sorted(actual.keys() ^ expected[command].keys()) or 'in content'}"
        yield format_command(argv), fault
    remove_outputs(workspace.folder)


def read_outputs(folder: Path, command: str) -> dict[str, bytes]:
    """Read the files that a command has written, without caches; files that contain times are read as empty."""
    found = {}
    for path in sorted(folder.glob("out*")):
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and "/cache/" not in name:
                is_compared = file.suffix == ".safetensors" or command in ("translate", "distill")
                found[name] = file.read_bytes() if is_compared else b""
    return found


def remove_outputs(folder: Path) -> None:
    """Remove the files that a command has written."""
    for path in folder.glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
