"""Lock on a run folder: one process trains in it, and writes never land in another folder of the same path."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from seqlab.base.atomic_io import folder_lock
from seqlab.base.world import World
from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps
from seqlab.runs.folder import RUN_ID, RunFolder
from seqlab.runs.overwriting import make_new, new_path, recover, remove_new, remove_overwritten, swap

LOGGERS_WITH_PATHS = [logging.getLogger(name) for name in ("seqlab.data.cache", "seqlab.runs.folder")]
"""Loggers with messages that contain paths of the run folder."""
SECONDS_TO_DELETE = 1.0
"""Time to wait for a deletion in progress before the folder is checked again."""


class LostFolder(RuntimeError):
    """The path of the run folder no longer leads to the run that is being trained."""


class LockedRunFolder:
    """A run folder with an open descriptor, so that writes follow the folder if it is moved.

    `folder` has the user's path. `root` is the same folder under /proc/PID/fd/N, a path that stays valid after a move.
    Without /proc (macOS, Windows), `root` is `place`, and the path is checked before each write. `place` is `folder`,
    or `RUN.new` until the run takes the path of the run that it `overwrites`.
    """

    def __init__(self, folder: RunFolder, descriptor: int | None, overwrites: "LockedRunFolder | None" = None) -> None:
        """Duplicate the descriptor of the folder; None if the system cannot open folders."""
        self.folder = folder
        self.overwrites = overwrites
        self.place = folder if overwrites is None else RunFolder(new_path(folder.path))
        self._descriptor = None if descriptor is None else os.dup(descriptor)
        # the process id instead of `self`, because worker processes use these paths, too
        descriptor_path = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        self.root = RunFolder(descriptor_path) if descriptor_path.exists() else self.place
        self._run_id: str | None = None

    def take_path(self, world: World) -> None:
        """Replace the run that this one overwrites; all ranks must call this.

        Raises:
            LostFolder: one of the folders was moved or deleted.
        """
        world.call_on_main(self._swap)
        if self.root is self.place:
            self.root = self.folder
        self.place, self.overwrites = self.folder, None

    def _swap(self) -> None:
        assert self.overwrites is not None
        self.overwrites.raise_if_lost()
        self.raise_if_lost()
        swap(self.folder.path)

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
        if self.root is self.place:
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
        elif location == self.place.path.resolve():
            advice = "Restore its run.json, then repeat the command to continue."
        else:
            advice = f"The run is in {location}: move it back, then repeat the command to continue."
        raise LostFolder(f"Training stopped: {self.place.path} {problem}. {advice}")

    def _path_problem(self) -> str | None:
        """Describe what is wrong with the path; None if it leads to this run."""
        try:
            is_same = self._descriptor is None or os.path.samestat(self.place.path.stat(), os.fstat(self._descriptor))
            if not is_same:
                return "holds another run now" if self.place.exists() else "is another folder now"
            if self._run_id is None or self.place.read_description().get(RUN_ID) == self._run_id:
                return None
        except FileNotFoundError:
            return "is no longer there"
        except ValueError:
            return "has no readable run.json any more"
        return "holds another run now"

    def _location(self) -> Path | None:
        """Return the current location of the folder; None if it was deleted or cannot be found."""
        if self._descriptor is None or self.root is self.place or os.fstat(self._descriptor).st_nlink == 0:
            return None
        return Path(os.readlink(self.root.path))

    def with_user_path(self, value: Any) -> Any:
        """Replace other paths of the folder by the user's path in a text; return other values unchanged."""
        if not isinstance(value, str):
            return value
        value = value.replace(str(self.root.path), str(self.folder.path))
        return value.replace(f"{self.place.path}{os.sep}", f"{self.folder.path}{os.sep}")

    @contextmanager
    def restore_paths_in_messages(self) -> Iterator[None]:
        """Replace other paths of the folder by the user's path in errors and log messages within this context.

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

    An interrupted overwriting of the run is completed, and its leftovers are deleted.

    Raises:
        ValueError: another process trains in the folder.
    """
    descriptor = None
    created = None
    recover(folder.path)
    if not folder.path.exists():
        folder.path.mkdir(parents=True)
        created = folder.path.stat()
    with ExitStack() as stack:
        try:
            if folder.path.is_dir():
                descriptor = stack.enter_context(folder_lock(folder.path, wait=False))
                if descriptor is not None and not os.path.samestat(folder.path.stat(), os.fstat(descriptor)):
                    raise BlockingIOError  # another process has overwritten the run
        except (BlockingIOError, FileNotFoundError):
            raise ValueError(
                f"{folder.path}: another process is training there; wait for it, or stop it first."
            ) from None
        remove_overwritten(folder.path)
        remove_new(folder.path)
        try:
            yield descriptor
        finally:
            with suppress(OSError):  # it is not empty, or was moved away
                if created is not None and os.path.samestat(created, folder.path.stat()):
                    folder.path.rmdir()


@contextmanager
def new_folder(run: RunFolder) -> Iterator[int | None]:
    """Create and lock the folder of a run that overwrites a locked one; delete it unless it takes that one's path.

    Raises:
        ValueError: there is a folder of this name, or the old folder cannot be renamed.
    """
    real = Path(os.path.realpath(run.path))
    if real.is_mount():
        raise ValueError(
            f"`run_dir` {run.path} is a mount point, which `--overwrite` cannot rename: choose a folder in it."
        )
    if Path.cwd().is_relative_to(real):
        raise ValueError(f"`--overwrite` replaces {run.path}, the current folder: start the command from another one.")
    try:
        with folder_lock(make_new(run.path), wait=False) as descriptor:
            yield descriptor
    finally:
        remove_new(run.path)


def refuse_separate_folder(folder: Path, world: World) -> None:
    """Raise ValueError if the folder that the main rank created does not exist on this rank's machine."""
    if not folder.is_dir():
        raise ValueError(
            f"Rank {world.rank} does not see the run folder {folder.absolute()} that rank 0 created: with "
            "several machines it must be on a shared file system, under the same path on each machine."
        )


@contextmanager
def open_on_all_ranks(folder: Path, lock: AbstractContextManager[int | None], world: World) -> Iterator[int | None]:
    """Enter `lock`, which may create the folder, on the main rank; yield the descriptor of the folder on each rank."""
    with ExitStack() as stack:
        descriptor = None
        with world.main_first():
            if world.is_main:
                descriptor = stack.enter_context(lock)
        if not world.is_main:
            refuse_separate_folder(folder, world)
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        yield descriptor


@contextmanager
def lock_run_folder(
    folder: RunFolder, world: World, must_overwrite: Callable[[RunFolder], bool] = lambda folder: False
) -> Iterator[LockedRunFolder]:
    """Open a run folder on each rank, and lock it against other training processes.

    If `must_overwrite` returns True for the locked folder, the folder is that of a new run, which `take_path` moves.

    Raises:
        ValueError: another process trains in the folder, or a rank does not see it; and the errors of `must_overwrite`.
    """
    with ExitStack() as stack:
        descriptor = stack.enter_context(open_on_all_ranks(folder.path, exclusive_lock(folder), world))
        locked_folder = stack.enter_context(closing(LockedRunFolder(folder, descriptor)))
        with locked_folder.restore_paths_in_messages():
            overwrites = world.call_on_main(lambda: must_overwrite(locked_folder.root))
        if overwrites:
            descriptor = stack.enter_context(open_on_all_ranks(new_path(folder.path), new_folder(folder), world))
            locked_folder = stack.enter_context(closing(LockedRunFolder(folder, descriptor, locked_folder)))
        yield locked_folder


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
