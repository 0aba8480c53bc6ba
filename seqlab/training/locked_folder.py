"""Lock on a run folder: one process trains in it, and writes never land in another folder of the same path."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from seqlab.base.atomic_io import folder_lock
from seqlab.base.world import World
from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps
from seqlab.runs.folder import RUN_ID, RunFolder

LOGGERS_WITH_PATHS = [logging.getLogger(name) for name in ("seqlab.data.cache", "seqlab.runs.folder")]
"""Loggers with messages that contain paths of the run folder."""
SECONDS_TO_DELETE = 1.0
"""Time to wait for a deletion in progress before the folder is checked again."""


class LostFolder(RuntimeError):
    """The path of the run folder no longer leads to the run that is being trained."""


class LockedRunFolder:
    """A run folder with an open descriptor, so that writes follow the folder if it is moved.

    `folder` has the user's path. `root` is the same folder under /proc/PID/fd/N, a path that stays valid after a move.
    Without /proc (macOS, Windows), `root` is `folder`, and the path is checked before each write.
    """

    def __init__(self, folder: RunFolder, descriptor: int | None) -> None:
        """Duplicate the descriptor of the folder; None if the system cannot open folders."""
        self.folder = folder
        self._descriptor = None if descriptor is None else os.dup(descriptor)
        # the process id instead of `self`, because worker processes use these paths, too
        descriptor_path = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        self.root = RunFolder(descriptor_path) if descriptor_path.exists() else folder
        self._run_id: str | None = None

    def bind_run_id(self, run_id: str) -> None:
        """Set the run id that `raise_if_lost` checks; raise LostFolder if run.json has another one."""
        self._run_id = run_id
        self.raise_if_lost()

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Check the path after writes within this context; raise LostFolder if it leads elsewhere."""
        if self.root is self.folder:
            self.raise_if_lost()
        try:
            yield
        except FileNotFoundError:
            self.raise_if_lost()
            raise
        self.raise_if_lost()

    def raise_if_lost(self) -> None:
        """Raise LostFolder, with the new location, if the path does not lead to this folder and run any more."""
        problem = self._path_problem()
        if problem is not None:
            time.sleep(SECONDS_TO_DELETE)
            problem = self._path_problem()
        if problem is None:
            return
        location = self._location()
        if location is None:
            advice = "The folder of the run was deleted, or cannot be found."
        elif location == self.folder.path.resolve():
            advice = "Restore its run.json, then repeat the command to continue."
        else:
            advice = f"The run is in {location}: move it back, then repeat the command to continue."
        raise LostFolder(f"Training stopped: {self.folder.path} {problem}. {advice}")

    def _path_problem(self) -> str | None:
        """Describe what is wrong with the path; None if it leads to this run."""
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
        """Return the current location of the folder; None if it was deleted or cannot be found."""
        if self._descriptor is None or self.root is self.folder or os.fstat(self._descriptor).st_nlink == 0:
            return None
        return Path(os.readlink(self.root.path))

    def with_user_path(self, value: Any) -> Any:
        """Replace the descriptor's path by the user's path in a text; return other values unchanged."""
        return value.replace(str(self.root.path), str(self.folder.path)) if isinstance(value, str) else value

    @contextmanager
    def restore_paths_in_messages(self) -> Iterator[None]:
        """Replace the descriptor's path by the user's path in errors and log messages within this context.

        Raises:
            LostFolder: a read or write failed because the path does not lead to this folder any more.
        """

        def translate(record: logging.LogRecord) -> bool:
            record.msg, record.args = self.with_user_path(record.getMessage()), ()
            return True

        for logger in LOGGERS_WITH_PATHS:
            logger.addFilter(translate)
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError | ValueError):
                self.raise_if_lost()
            error.args = tuple(map(self.with_user_path, error.args))
            for name in ("filename", "filename2"):
                if getattr(error, name, None) is not None:
                    setattr(error, name, self.with_user_path(str(getattr(error, name))))
            raise
        finally:
            for logger in LOGGERS_WITH_PATHS:
                logger.removeFilter(translate)


@contextmanager
def exclusive_lock(folder: RunFolder) -> Iterator[int | None]:
    """Create a folder if it is missing and lock it against other training processes; yield its descriptor.

    Raises:
        ValueError: another process trains in the folder.
    """
    descriptor = None
    created = None
    if not folder.path.exists():
        folder.path.mkdir(parents=True)
        created = folder.path.stat()
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
                if created is not None and os.path.samestat(created, folder.path.stat()):
                    folder.path.rmdir()


def refuse_separate_folder(folder: RunFolder, world: World) -> None:
    """Raise ValueError if the folder that the main rank created does not exist on this rank's machine."""
    if not folder.path.is_dir():
        raise ValueError(
            f"Rank {world.rank} does not see the run folder {folder.path.absolute()} that rank 0 created: with "
            "several machines it must be on a shared file system, under the same path on each machine."
        )


@contextmanager
def lock_run_folder(folder: RunFolder, world: World) -> Iterator[LockedRunFolder]:
    """Open a run folder on each rank, and lock it against other training processes.

    Raises:
        ValueError: another process trains in the folder, or a rank does not see it.
    """
    with ExitStack() as stack:
        descriptor = None
        with world.main_first():
            if world.is_main:
                descriptor = stack.enter_context(exclusive_lock(folder))
        if not world.is_main:
            refuse_separate_folder(folder, world)
            descriptor = os.open(folder.path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        yield stack.enter_context(closing(LockedRunFolder(folder, descriptor)))


@contextmanager
def explain_full_disk(folder: RunFolder) -> Iterator[None]:
    """Re-raise an OSError due to a full disk or quota with the disk, the last checkpoint and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        steps = checkpoint_steps(folder.checkpoints)
        kept = "there is no checkpoint yet"
        if steps:
            kept = f"the last complete checkpoint is {folder.checkpoints / checkpoint_name(steps[-1])}"
        # The folder of a new run may not exist yet.
        existing = next(path for path in (folder.path, *folder.path.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 1e6
        raise OSError(
            error.errno,
            f"The disk of {folder.path} is full ({free:.1f} MB free; {error.strerror}): {kept}. Free space and repeat "
            f"the command: it continues {'there' if steps else 'from the start'}.",
        ) from error
