"""Data that a recipe generates into the run folder."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from seqlab.base.atomic_io import rename, write_json
from seqlab.corpora import CORPORA, locate
from seqlab.corpora.description import sha256_of_text
from seqlab.runs.folder import RunFolder

logger = logging.getLogger(__name__)
_generated: dict[Path, Path] = {}
"""run folder -> what was generated for it in another folder"""


@contextmanager
def generated_first(run_dir: Path) -> Iterator[Path]:
    """Give a folder to generate into before the run folder changes; `written` moves its data from there."""
    place = run_dir.resolve()  # once: a link may lead elsewhere when training ends
    with TemporaryDirectory() as folder:
        _generated[place] = Path(folder) / "data"
        try:
            yield Path(folder)
        finally:
            del _generated[place]


def written(run_dir: str | Path, write: Callable[[Path], object], corpus: str | None = None) -> Path:
    """Return `run_dir/data`, into which `write` writes unless something is there already.

    An existing run keeps its files, even those of an earlier version of `write`: training compares them with run.json.
    The files of a run that is being overwritten are moved to where the run is, and new ones are written.

    Args:
        run_dir: the run folder.
        write: writes all files into a folder that it makes.
        corpus: the corpus whose description new files must match.

    Raises:
        ValueError: the folder holds other files than those of the corpus, or some that `write` does not write; or the
            files of an existing run are missing, and `write` writes others.
    """
    run = RunFolder(run_dir)
    set_aside = run.replaced / run.data.name
    is_missing = not (run.data.exists() and any(run.data.iterdir()))
    # what is left of a set-up without a run.json may have data of somebody else
    is_old = (run.replaced / run.description_file.name).is_file() and not set_aside.exists()
    if is_missing or is_old:
        building = run.path / "data.tmp"  # whole or absent, whatever ends the process meanwhile
        shutil.rmtree(building, ignore_errors=True)
        first = _generated.get(run.path.resolve())
        if first is not None and first.exists():
            shutil.move(first, building)
        else:
            write(building)
        if run.replaced.is_dir():
            _set_aside(run.data, building, set_aside)
        elif run.exists():
            _refuse_other_version(run, building)
        rename(building, run.data)
    if corpus is not None:
        _compare(run, corpus)
    return run.data


def _set_aside(old: Path, new: Path, set_aside: Path) -> None:
    """Move old data away; an empty folder stands for none. Raises ValueError where a file was never generated.

    The names of the new files are noted beside, for `settle` to tell them from files of somebody else.
    """
    write_json(set_aside.with_suffix(".json"), sorted(path.name for path in new.iterdir()))
    if not old.exists():
        set_aside.mkdir()
        return
    foreign = sorted({path.name for path in old.iterdir()} - {path.name for path in new.iterdir()})
    if foreign:
        raise ValueError(
            f"{old} holds {', '.join(foreign[:3])}, which the recipe does not write and `--overwrite` would delete: "
            "move it away, or choose another `--run_dir`."
        )
    rename(old, set_aside)


def _refuse_other_version(run: RunFolder, building: Path) -> None:
    """Raise ValueError where a run's data are missing, and none of those that are generated now is one of them."""
    known = set(run.read_description_entry("data_sha256"))
    if any(path.is_dir() for path in building.iterdir()):
        return  # recordings, whose lists are compared with what is on them when the run goes on
    if not known & {sha256_of_text(path) for path in building.iterdir()}:
        shutil.rmtree(building)
        raise ValueError(
            f"{run.data} is missing, and this version of seqlab generates other data than those that the run was begun "
            "with: restore the folder from a copy, or start anew with `--overwrite`."
        )


def _compare(run: RunFolder, corpus: str) -> None:
    """Compare with the description of the corpus: a run may go on with other data, a new one may not begin with them.

    Raises:
        ValueError: of a new run.
    """
    try:
        locate(corpus, run.data)
    except (ValueError, FileNotFoundError):
        version = CORPORA[corpus].version
        if not run.exists():
            raise ValueError(
                f"The files in {run.data} are not those of version {version} of {corpus}, which this recipe generates: "
                f"delete the folder {run.data}, or choose another `--run_dir`."
            ) from None
        logger.info("%s keeps its data, which are not those of version %d of %s.", run.path, version, corpus)
