"""The run folder that training writes into: the same one to the end, whatever happens to its path meanwhile."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from seqlab.base.atomic_io import folder_lock
from seqlab.base.world import World
from seqlab.runs.folder import RUN_ID, RunFolder

LOGGERS = [logging.getLogger(name) for name in ("seqlab.data.cache", "seqlab.runs.folder")]
"""Those whose messages name files of the run folder."""
SECONDS_TO_DELETE = 1.0
"""What a deletion that has begun is given to end in, before it is looked what is left."""


class LostFolder(RuntimeError):
    """The path of the run folder no longer leads to the run that is trained."""


class HeldFolder:
    """A run folder that is held open, so that what is written into it cannot land in another of its name.

    `root` has the same paths as `folder`, through the open descriptor, so that they lead here also after a move. Where
    a system has no /proc (macOS, Windows), they are those of `folder`, and each write is preceded by a check.
    """

    def __init__(self, folder: RunFolder, descriptor: int | None) -> None:
        """Hold the folder that a descriptor is open on; None where the system opens no folders."""
        self.folder = folder
        self._descriptor = None if descriptor is None else os.dup(descriptor)
        # the number of the process rather than `self`: worker processes use these paths, too
        through = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        self.root = RunFolder(through) if through.exists() else folder
        self._run_id: str | None = None

    def bind(self, run_id: str) -> None:
        """From now on the path must lead to the run with this id, too; raises LostFolder where it does not."""
        self._run_id = run_id
        self.refuse_lost()

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write through `root`; afterwards raise LostFolder where the path no longer leads to this run."""
        if self.root is self.folder:
            self.refuse_lost()
        try:
            yield
        except FileNotFoundError:
            self.refuse_lost()
            raise
        self.refuse_lost()

    def refuse_lost(self) -> None:
        """Raise LostFolder where the path no longer leads to this folder and this run, naming where the run is now."""
        found = self._at_path()
        if found is not None:
            time.sleep(SECONDS_TO_DELETE)
            found = self._at_path()
        if found is None:
            return
        location = self._location()
        if location is None:
            end = "The folder of the run was deleted, or cannot be found."
        elif location == self.folder.path.resolve():
            end = "Restore its run.json, and the same command continues."
        else:
            end = f"The run is in {location}: move it back, and the same command continues."
        raise LostFolder(f"Training stopped: {self.folder.path} {found}. {end}")

    def _at_path(self) -> str | None:
        """Say what is wrong with the path; None where it leads to this run."""
        try:
            is_same = self._descriptor is None or os.path.samestat(self.folder.path.stat(), os.fstat(self._descriptor))
            if not is_same:
                return "holds another run now" if self.folder.exists() else "is another folder now"
            if self._run_id is None or self.folder.read_description().get(RUN_ID) == self._run_id:
                return None
        except FileNotFoundError:
            return "is no longer there"
        except ValueError:
            return "has no readable run.json any more"
        return "holds another run now"

    def _location(self) -> Path | None:
        """Find where the folder is now; None where it was deleted, or cannot be found."""
        if self._descriptor is None or self.root is self.folder or os.fstat(self._descriptor).st_nlink == 0:
            return None
        return Path(os.readlink(self.root.path))

    def named(self, value: Any) -> Any:
        """Name a path below the folder as the user knows it, instead of by the descriptor; other values stay."""
        return value.replace(str(self.root.path), str(self.folder.path)) if isinstance(value, str) else value

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Let errors, and the messages about the run folder and its cache, name the folder by its path.

        Raises:
            LostFolder: what failed to be read or written is due to a path that no longer leads here.
        """

        def translate(record: logging.LogRecord) -> bool:
            record.msg, record.args = self.named(record.getMessage()), ()
            return True

        for logger in LOGGERS:
            logger.addFilter(translate)
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError | ValueError):
                self.refuse_lost()
            error.args = tuple(map(self.named, error.args))
            for name in ("filename", "filename2"):
                if getattr(error, name, None) is not None:
                    setattr(error, name, self.named(str(getattr(error, name))))
            raise
        finally:
            for logger in LOGGERS:
                logger.removeFilter(translate)


@contextmanager
def locked(folder: RunFolder) -> Iterator[int | None]:
    """Keep other processes from training into a folder, which is made; gives the descriptor that it is open on.

    Raises:
        ValueError: another process trains there.
    """
    descriptor = None
    made = None
    if not folder.path.exists():
        folder.path.mkdir(parents=True)
        made = folder.path.stat()
    with ExitStack() as stack:
        try:
            if folder.path.is_dir():
                descriptor = stack.enter_context(folder_lock(folder.path, wait=False))
        except BlockingIOError:
            raise ValueError(
                f"{folder.path}: another process is training there; wait for it, or stop it first."
            ) from None
        try:
            yield descriptor
        finally:
            with suppress(OSError):  # it is not empty, or was moved away
                if made is not None and os.path.samestat(made, folder.path.stat()):
                    folder.path.rmdir()


def refuse_separate_folder(folder: RunFolder, world: World) -> None:
    """Raise ValueError where this rank's machine does not see the folder that the main rank has made."""
    if not folder.path.is_dir():
        raise ValueError(
            f"Rank {world.rank} does not see the run folder {folder.path.absolute()} that rank 0 has made: with "
            "several machines it must lie on a file system that all of them share, under the same path."
        )


@contextmanager
def hold_folder(folder: RunFolder, world: World) -> Iterator[HeldFolder]:
    """Hold a run folder on each rank, and keep other processes from training into it.

    Raises:
        ValueError: another process trains there; a rank does not see the folder.
    """
    with ExitStack() as stack:
        descriptor = None
        with world.main_first():
            if world.is_main:
                descriptor = stack.enter_context(locked(folder))
        if not world.is_main:
            refuse_separate_folder(folder, world)
            descriptor = os.open(folder.path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        yield stack.enter_context(closing(HeldFolder(folder, descriptor)))
