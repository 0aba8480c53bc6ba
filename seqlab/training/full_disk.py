"""A disk that is full: which one, what is safe, and what to do."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps
from seqlab.runs.folder import RunFolder


@contextmanager
def full_disk_explained(folder: RunFolder) -> Iterator[None]:
    """Raise an OSError that is due to a full disk or quota again, with a message about the run."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        steps = checkpoint_steps(folder.checkpoints)
        kept = "no checkpoint was written yet"
        if steps:
            kept = f"the last whole checkpoint is {folder.checkpoints / checkpoint_name(steps[-1])}"
        # A new run's folder may not have been made.
        there = next(path for path in (folder.path, *folder.path.parents) if path.exists())
        free = shutil.disk_usage(there).free / 1e6
        raise OSError(
            error.errno,
            f"The disk of {folder.path} is full ({free:.1f} MB free; {error.strerror}): {kept}. Make room and give the "
            f"same command again; it continues {'there' if steps else 'from the start'}.",
        ) from error
