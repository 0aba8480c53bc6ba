"""Edited files and flipped bits: each command refuses the file by name, or answers."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from attack.damage import edit, flip_bit, renew_checksums
from attack.trial import Outcome, run
from attack.workspace import Workspace

Finding = tuple[str, str | None]
"""What was tried, and what did not hold."""


def files_of(run_dir: Path) -> list[Path]:
    """List the files of a run that commands read."""
    return sorted(path for path in run_dir.rglob("*") if path.is_file() and "cache" not in path.parts)


def edited_files(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Edit a file of a run, in half of the tries with new checksums, and read the run."""
    for number in range(count):
        name = rng.choice(sorted(workspace.uses))
        folder = workspace.copy_of(name, workspace.folder / "damaged")
        run_dir = folder / "runs" / name
        file = rng.choice(files_of(run_dir))
        what = edit(file, rng)
        is_renewed = number % 2 == 0
        if is_renewed:
            renew_checksums(run_dir)
        argv = rng.choice(workspace.commands(name))
        outcome = run(argv, folder=folder)
        renewed = ", checksums renewed" if is_renewed else ""
        yield f"{file.relative_to(folder)}: {what}{renewed}; {' '.join(argv)}", outcome.fault
        shutil.rmtree(folder)


def flipped_bits(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Flip one bit of a file: the command refuses, or its answer is as it was."""
    for _ in range(count):
        name = rng.choice(sorted(workspace.uses))
        if not workspace.uses[name]:
            continue
        argv = rng.choice(workspace.uses[name])
        folder = workspace.copy_of(name, workspace.folder / "damaged")
        whole = run(argv, folder=folder)
        file = rng.choice(files_of(folder / "runs" / name))
        what = flip_bit(file, rng)
        found = run(argv, folder=folder)
        yield f"{file.relative_to(folder)}: {what}; {' '.join(argv)}", fault_of_answer(found, whole)
        shutil.rmtree(folder)


def fault_of_answer(found: Outcome, whole: Outcome) -> str | None:
    """Return what is wrong with the answer of a damaged run; None where it was refused, or is as it was."""
    if found.fault is None and found.status == 0 and found.stdout != whole.stdout:
        return "another answer without a word"
    return found.fault
