"""Data that a recipe writes into its run folder."""

from collections.abc import Callable
from pathlib import Path

from seqlab.durable import rename


def generated(run_dir: Path, write: Callable[[Path], object]) -> Path:
    """Return the folder `run_dir/data`, filled by `write` unless it is: whole or absent, whatever ends the process."""
    folder = run_dir / "data"
    if not (folder.exists() and any(folder.iterdir())):
        building = run_dir / "data.tmp"
        write(building)
        rename(building, folder)
    return folder
