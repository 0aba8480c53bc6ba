"""Attacks by pipes, devices and folders instead of files, and by closed, full or non-UTF-8 standard streams."""

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from attack.files import Finding, list_files
from attack.options import WORKING_ARGUMENTS, format_command
from attack.trial import MAX_SECONDS, Outcome, run
from attack.workspace import Workspace

REDIRECTIONS = (
    *("2>&-", ">&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "> /dev/full 2> /dev/full"),
    *("| head -c 0", "2>&1 | head -c 1", "< /dev/null", "> /dev/null 2>&1"),
)
ENVIRONMENTS: Sequence[dict[str, str]] = (
    *({}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)


def try_special_files(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Replace a file of a run by a pipe, a device, a folder or a broken link: no command waits for it."""
    for _ in range(count):
        name = rng.choice(sorted(workspace.uses))
        folder = workspace.copy_run(name, workspace.folder / "damaged")
        file = rng.choice(list_files(folder / "runs" / name))
        kind = rng.choice(("pipe", "/dev/zero", "/dev/random", "folder", "dangling link", "link to itself"))
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            target = kind if kind.startswith("/") else "missing" if kind == "dangling link" else file.name
            file.symlink_to(target)
        argv = rng.choice(workspace.commands(name))
        yield f"{file.relative_to(folder)}: {kind}; {' '.join(argv)}", run(argv, folder=folder).fault
        shutil.rmtree(folder)


def try_piped_inputs(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Pass an input of a command as a pipe that is written once: it is read once or refused."""
    inputs = [
        (command, index) for command, argv in WORKING_ARGUMENTS.items() for index in find_inputs(workspace.folder, argv)
    ]
    for _ in range(count):
        command, index = rng.choice(inputs)
        argv = list(WORKING_ARGUMENTS[command])
        path, _, column = argv[index].partition("#")
        content = (workspace.folder / path).read_bytes()
        pipe = workspace.folder / f"pipe{Path(path).suffix}"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        argv[index] = pipe.name + (f"#{column}" if column else "")
        writer = threading.Thread(target=write_once, args=(pipe, content), daemon=True)
        writer.start()
        outcome = run([command, *argv], folder=workspace.folder, seconds=30)
        release_writer(pipe, writer)
        yield format_command([command, *argv]), outcome.fault
        pipe.unlink()


def find_inputs(folder: Path, argv: Sequence[str]) -> list[int]:
    """Return the indices of arguments that name existing files."""
    return [index for index, each in enumerate(argv) if (folder / each.partition("#")[0]).is_file()]


def write_once(pipe: Path, content: bytes) -> None:
    """Write to a pipe, which blocks until it is opened for reading."""
    try:
        with pipe.open("wb") as file:
            file.write(content)
    except BrokenPipeError:
        pass


def release_writer(pipe: Path, writer: threading.Thread) -> None:
    """End a writer whose pipe was never opened for reading."""
    if writer.is_alive():
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    writer.join(5)


def try_standard_streams(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Run a command in a new process with standard streams that are closed, full or of another encoding."""
    for _ in range(count):
        command, streams, environment = (
            rng.choice(list(WORKING_ARGUMENTS)),
            rng.choice(REDIRECTIONS),
            rng.choice(ENVIRONMENTS),
        )
        argv = [command, *WORKING_ARGUMENTS[command], *rng.choice(((), ("--json",)))]
        if "--json" in argv and command in ("export", "import", "plot"):
            argv.remove("--json")
        line = f"{sys.executable} -m seqlab {' '.join(argv)} {streams}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=workspace.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * MAX_SECONDS,
            check=False,
        )
        outcome = Outcome(done.returncode, done.stdout, done.stderr.decode("utf-8", "backslashreplace"), 0, 0)
        fault = outcome.fault
        if fault is not None and "2>" in streams and fault.endswith("without a message"):
            fault = None  # standard error was closed or full
        yield f"{environment} {format_command(argv)} {streams}", fault
