"""Pipes, devices and folders in the place of files, and standard streams that are closed, full or not UTF-8."""

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from attack.files import Finding, files_of
from attack.options import BASES, shown
from attack.trial import MOST_SECONDS, Outcome, run
from attack.workspace import Workspace

STREAMS = (
    *("2>&-", ">&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "> /dev/full 2> /dev/full"),
    *("| head -c 0", "2>&1 | head -c 1", "< /dev/null", "> /dev/null 2>&1"),
)
ENVIRONMENTS: Sequence[dict[str, str]] = (
    *({}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)


def special_files(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Put a pipe, a device or a folder in the place of a file of a run: no command waits for it."""
    for _ in range(count):
        name = rng.choice(sorted(workspace.uses))
        folder = workspace.copy_of(name, workspace.folder / "damaged")
        file = rng.choice(files_of(folder / "runs" / name))
        kind = rng.choice(("pipe", "/dev/zero", "/dev/random", "folder", "dangling link", "link to itself"))
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            target = kind if kind.startswith("/") else "nowhere" if kind == "dangling link" else file.name
            file.symlink_to(target)
        argv = rng.choice(workspace.commands(name))
        yield f"{file.relative_to(folder)}: {kind}; {' '.join(argv)}", run(argv, folder=folder).fault
        shutil.rmtree(folder)


def piped_inputs(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Give an input of a command as a pipe that is written once: it is read once, or refused."""
    places = [(command, index) for command, argv in BASES.items() for index in inputs_of(workspace.folder, argv)]
    for _ in range(count):
        command, index = rng.choice(places)
        argv = list(BASES[command])
        path, _, column = argv[index].partition("#")
        content = (workspace.folder / path).read_bytes()
        pipe = workspace.folder / f"pipe{Path(path).suffix}"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        argv[index] = pipe.name + (f"#{column}" if column else "")
        writer = threading.Thread(target=write_once, args=(pipe, content), daemon=True)
        writer.start()
        outcome = run([command, *argv], folder=workspace.folder, seconds=30)
        release(pipe, writer)
        yield shown([command, *argv]), outcome.fault
        pipe.unlink()


def inputs_of(folder: Path, argv: Sequence[str]) -> list[int]:
    """List which arguments name files that are there."""
    return [index for index, each in enumerate(argv) if (folder / each.partition("#")[0]).is_file()]


def write_once(pipe: Path, content: bytes) -> None:
    """Write into a pipe as soon as it is read."""
    try:
        with pipe.open("wb") as file:
            file.write(content)
    except BrokenPipeError:
        pass


def release(pipe: Path, writer: threading.Thread) -> None:
    """End a writer that nobody has read from."""
    if writer.is_alive():
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    writer.join(5)


def standard_streams(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Run a command as a process of its own with streams that are closed, full or of another encoding."""
    for _ in range(count):
        command, streams, environment = rng.choice(list(BASES)), rng.choice(STREAMS), rng.choice(ENVIRONMENTS)
        argv = [command, *BASES[command], *rng.choice(((), ("--json",)))]
        if "--json" in argv and command in ("export", "import", "plot"):
            argv.remove("--json")
        line = f"{sys.executable} -m seqlab {' '.join(argv)} {streams}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=workspace.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * MOST_SECONDS,
            check=False,
        )
        outcome = Outcome(done.returncode, done.stdout, done.stderr.decode("utf-8", "backslashreplace"), 0, 0)
        fault = outcome.fault
        if fault is not None and "2>" in streams and fault.endswith("without a message"):
            fault = None  # nobody could read it
        yield f"{environment} {shown(argv)} {streams}", fault
