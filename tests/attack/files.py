"""Attacks by edited files and flipped bits: each command either names the damaged file in an error, or succeeds."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from attack.damage import edit, flip_bit, renew_checksums
from attack.trial import Outcome, run
from attack.workspace import Workspace

Finding = tuple[str, str | None]
"""Description of a trial, and its fault; None if the trial passed."""


def list_files(run_dir: Path) -> list[Path]:
    """List the files of a run that commands read."""
    return sorted(path for path in run_dir.rglob("*") if path.is_file() and "cache" not in path.parts)


def try_edited_files(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Edit a file of a run, in half of the trials with new checksums, and run a command that reads it."""
    for number in range(count):
        name = rng.choice(sorted(workspace.uses))
        folder = workspace.copy_run(name, workspace.folder / "damaged")
        run_dir = folder / "runs" / name
        file = rng.choice(list_files(run_dir))
        description = edit(file, rng)
        is_renewed = number % 2 == 0
        if is_renewed:
            renew_checksums(run_dir)
        argv = rng.choice(workspace.commands(name))
        outcome = run(argv, folder=folder)
        renewed = ", checksums renewed" if is_renewed else ""
        yield f"{file.relative_to(folder)}: {description}{renewed}; {' '.join(argv)}", outcome.fault
        shutil.rmtree(folder)


def try_flipped_bits(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Flip one bit of a file of a run: the command fails with a message, or its output is unchanged."""
    for _ in range(count):
        name = rng.choice(sorted(workspace.uses))
        if not workspace.uses[name]:
            continue
        argv = rng.choice(workspace.uses[name])
        folder = workspace.copy_run(name, workspace.folder / "damaged")
        expected = run(argv, folder=folder)
        file = rng.choice(list_files(folder / "runs" / name))
        description = flip_bit(file, rng)
        actual = run(argv, folder=folder)
        yield f"{file.relative_to(folder)}: {description}; {' '.join(argv)}", check_output(actual, expected)
        shutil.rmtree(folder)


def check_output(actual: Outcome, expected: Outcome) -> str | None:
    """Return the fault of a command on a damaged run; None if it failed with a message or its output is unchanged."""
    if actual.fault is None and actual.status == 0 and actual.stdout != expected.stdout:
        return "different output without a message"
    return actual.fault
