"""The run folder that training writes into: the same one to the end, whatever happens to its path meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqlab.runs.folder import RUN_ID, RunFolder


class LostFolder(RuntimeError):
    """The path of the run folder no longer leads to the run that is trained."""


class HeldFolder:
    """A run folder that is held open, so that what is written into it cannot land in another of its name.

    `root` has the same paths as `folder`, through the open descriptor, so that they lead here also after a move. Where
    a system has no /proc (macOS, Windows), they are those of `folder`.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._descriptor = _open(folder.path)
        through = Path(f"/proc/self/fd/{self._descriptor}")
        self.root = RunFolder(through) if through.exists() else folder
        self._run_id: str | None = None

    def bind(self) -> None:
        """Take the id of the run whose set-up is done; raises LostFolder where the path leads elsewhere by now."""
        self._run_id = self.root.described(RUN_ID)
        self.refuse_lost()

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write through `root`; afterwards raise LostFolder where the path no longer leads to this run."""
        try:
            yield
        except FileNotFoundError:
            self.refuse_lost()
            raise
        self.refuse_lost()

    def refuse_lost(self) -> None:
        """Raise LostFolder where the path no longer leads to this folder and this run, naming where the run is now."""
        found = self._at_path()
        if found is None:
            return
        location = self._location()
        end = "its folder was deleted."
        if location is not None:
            end = f"its folder is {location} now, with a checkpoint: move it back, and the same command continues."
        raise LostFolder(f"{self.folder.path} no longer leads to the run that is trained ({found} there): {end}")

    def _at_path(self) -> str | None:
        """Say what is at the path instead of this run; None where it is this run."""
        path = self.folder.path
        try:
            if self._descriptor is not None and not os.path.samestat(os.stat(path), os.fstat(self._descriptor)):
                return "another run is" if self.folder.exists() else "another folder is"
            description = self.folder.read_description()
        except FileNotFoundError:
            return "nothing is"
        except ValueError:
            return "no run is"
        return None if description.get(RUN_ID) == self._run_id else "another run is"

    def _location(self) -> Path | None:
        """Find where the folder is now; None where it was deleted, or cannot be found."""
        if self._descriptor is None or self.root is self.folder:
            return self.folder.path if self.folder.path.exists() else None
        if os.fstat(self._descriptor).st_nlink == 0:
            return None
        return Path(os.readlink(self.root.path))


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return None
