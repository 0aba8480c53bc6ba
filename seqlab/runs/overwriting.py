"""Overwrite a run: the new one is set up in `RUN.new/` beside it, and takes its path by two renames.

1. `RUN.new/overwritten/RUN/` is created, empty: it marks `RUN.new` as left by a set-up, which may be deleted.
2. `RUN.new` becomes a complete run. Until then `RUN` is not changed, and an error or a kill costs only `RUN.new`.
3. `RUN` -> `RUN.new/overwritten/RUN`. Its `data/` moves to the new run if that has none.
4. `RUN.new` -> `RUN`.
5. `RUN/overwritten` is deleted.

After a kill between 3 and 4, `recover` goes on with 4, since the new run is complete. Locks on both folders hold during
the renames, because they belong to the folders and not to their paths.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from seqlab.base.atomic_io import folder_lock, rename

OVERWRITTEN, DATA = "overwritten", "data"
WAITS, SECONDS_PER_WAIT = 50, 0.02
"""Number and length of the waits for another process between the two renames."""


def new_path(run: Path) -> Path:
    """Return `RUN.new`, beside the run folder or the target of a symbolic link to it."""
    real = Path(os.path.realpath(run))
    return real.with_name(f"{real.name}.new")


def old_path(run: Path) -> Path:
    """Return the path of the overwritten run in `RUN.new`; its name differs from that in a run that is named so."""
    return new_path(run) / OVERWRITTEN / os.path.basename(os.path.realpath(run))


def is_swapping(run: Path) -> bool:
    """Return whether a process renames the folders, or was killed while it did: no folder has the run's path."""
    if "\0" in str(run):  # no folder has such a name, and the error that says so names the run
        return False
    return not os.path.lexists(os.path.realpath(run)) and old_path(run).is_dir() and any(old_path(run).iterdir())


def swap(run: Path) -> None:
    """Let the complete run in `RUN.new` take the path of a run, and delete the latter."""
    rename(Path(os.path.realpath(run)), old_path(run))
    _take_path(run)
    remove_overwritten(run)


def _take_path(run: Path) -> None:
    new, old_data = new_path(run), old_path(run) / DATA
    if old_data.exists() and not (new / DATA).exists():
        rename(old_data, new / DATA)
    rename(new, Path(os.path.realpath(run)))


def recover(run: Path) -> None:
    """Complete a swap that was killed between its renames; wait for a swap of another process."""
    for _ in range(WAITS):
        if not is_swapping(run):
            return
        with suppress(BlockingIOError, FileNotFoundError), folder_lock(new_path(run), wait=False):
            if is_swapping(run):
                _take_path(run)
                return
        time.sleep(SECONDS_PER_WAIT)


def remove_overwritten(run: Path) -> None:
    """Delete the run that this one has overwritten, or what a kill has left of it; other folders of users stay."""
    overwritten, name = run / OVERWRITTEN, os.path.basename(os.path.realpath(run))
    if not ((run / "run.json").is_file() and overwritten.is_dir()):
        return
    if all(path.name == name for path in overwritten.iterdir()):  # it is empty if the kill was in the deletion
        shutil.rmtree(overwritten)


def remove_new(run: Path) -> None:
    """Delete `RUN.new` if it is left from a set-up that failed or was killed; the caller has locked the run."""
    new, old = new_path(run), old_path(run)
    if not old.is_dir() or any(old.iterdir()):
        return
    with suppress(BlockingIOError), folder_lock(new, wait=False):
        for path in new.iterdir():
            if path.is_dir() and path.name != OVERWRITTEN:
                shutil.rmtree(path)
            elif path.name != OVERWRITTEN:
                path.unlink()
        shutil.rmtree(new)  # last, since it removes the mark


def make_new(run: Path) -> Path:
    """Create `RUN.new` with its mark; raise ValueError if there is another folder of this name."""
    new, old = new_path(run), old_path(run)
    new.mkdir(exist_ok=True)
    if any(path != new / OVERWRITTEN for path in new.rglob("*")):  # alone, it is left from a kill
        raise ValueError(
            f"`--overwrite` sets up the new run in {new}, which exists: move it away, or choose another `--run_dir`."
        )
    old.mkdir(parents=True)
    return new
