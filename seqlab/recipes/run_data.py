"""Data that a recipe writes itself, into the run folder."""

from collections.abc import Callable
from pathlib import Path

from seqlab.durable import rename


def written(run_dir: Path, write: Callable[[Path], object]) -> Path:
    """Return `run_dir/data`, into which `write` writes unless something is there already: that is never replaced."""
    folder = run_dir / "data"
    if not (folder.exists() and any(folder.iterdir())):
        building = run_dir / "data.tmp"  # whole or absent, whatever ends the process meanwhile
        write(building)
        rename(building, folder)
    return folder
