"""Run a list of seqlab commands in one process, and store the output of each.

python -P driver.py CHECKOUT PLAN.json OUT: the plan is a list of commands, `{"name": ..., "argv": [...]}`, in order;
OUT receives NAME.stdout and NAME.stderr of each command, and statuses.json. A step with `copy` first copies a folder.
A step with `stop_at` sends SIGTERM to the process as soon as that path exists. `PYTHONPATH` is the checkout to run.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CRASHED = 70
"""Exit status of a command that raised an exception."""


@contextmanager
def redirect_output(stem: Path) -> Iterator[None]:
    """Redirect the file descriptors of standard output and standard error to STEM.stdout and STEM.stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(number) for number in (1, 2)]
    try:
        for number, ending in ((1, "stdout"), (2, "stderr")):
            with stem.with_name(f"{stem.name}.{ending}").open("wb") as file:
                os.dup2(file.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), saved, strict=True):
            os.dup2(old, number)
            os.close(old)


def run_command(argv: Sequence[str], stem: Path) -> int:
    """Run one command and return its exit status."""
    from seqlab.cli.main import main

    with redirect_output(stem):
        try:
            return main(list(argv))
        except BaseException:
            traceback.print_exc()
            return CRASHED


def stop_when(path: Path, is_done: threading.Event) -> None:
    """Send SIGTERM to this process as soon as a path exists, unless the command ends first."""
    while not is_done.is_set():
        if path.exists():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.0005)


def run_step(step: dict[str, Any], out: Path) -> int:
    """Run one step of a plan and return its exit status."""
    if "copy" in step:
        source, target = map(Path, step["copy"])
        if not source.is_dir():
            return CRASHED
        shutil.copytree(source, target)
    if "stop_at" not in step:
        return run_command(step["argv"], out / step["name"])
    is_done = threading.Event()
    watcher = threading.Thread(target=stop_when, args=(Path(step["stop_at"]), is_done))
    watcher.start()
    status = run_command(step["argv"], out / step["name"])
    is_done.set()
    watcher.join()
    return status


def main() -> None:
    """Run the plan; exit if Python does not import the checkout given on the command line."""
    checkout, plan, out = (Path(argument) for argument in sys.argv[1:4])
    import seqlab

    found = Path(str(seqlab.__file__)).resolve()
    if not found.is_relative_to(checkout.resolve()):
        sys.exit(f"Python imports {found} instead of the seqlab in {checkout}")
    out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # in case a run ends before it is stopped
    statuses: dict[str, int] = {}
    for step in json.loads(plan.read_text("utf-8")):
        statuses[step["name"]] = run_step(step, out)
        (out / "statuses.json").write_text(json.dumps(statuses), "utf-8")


if __name__ == "__main__":
    main()
