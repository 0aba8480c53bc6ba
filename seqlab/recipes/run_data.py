"""Generate the data of a recipe in the run folder."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory

from seqlab.base.atomic_io import rename, write_json
from seqlab.corpora import CORPORA, locate
from seqlab.corpora.description import sha256_of_text
from seqlab.runs.folder import RunFolder

logger = logging.getLogger(__name__)
_staged: dict[Path, Path] = {}
"""Run folder -> temporary folder with data that were generated in advance."""
_may_generate = ContextVar("_may_generate", default=True)
"""Whether `generated_data` writes files; not while help is printed."""


@contextmanager
def staged_data(run_dir: Path) -> Iterator[Path]:
    """Yield a temporary folder to generate data in before the run folder changes; `generated_data` moves them."""
    key = run_dir.resolve()  # resolved once, since a link may change until training ends
    with TemporaryDirectory() as folder:
        _staged[key] = Path(folder) / "data"
        try:
            yield Path(folder)
        finally:
            del _staged[key]


@contextmanager
def without_generating() -> Iterator[None]:
    """Let `generated_data` return the folder of the data without creating it, for a config that is only shown."""
    token = _may_generate.set(False)
    try:
        yield
    finally:
        _may_generate.reset(token)


def generated_data(run_dir: str | Path, write: Callable[[Path], object], corpus: str | None = None) -> Path:
    """Return `run_dir/data`; generate its files if there are none, except within `without_generating`.

    An existing run keeps its files, even if an earlier version of `write` wrote them: training compares them with
    run.json. The files of a run that is being overwritten are moved to `RunFolder.replaced`, and new files are
    generated.

    Args:
        run_dir: the run folder.
        write: function that creates a folder and writes all files into it.
        corpus: name of the corpus whose checksums new files must match.

    Raises:
        ValueError: the folder contains files that differ from the corpus, or that `write` does not write; or the files
            of an existing run are missing, and `write` generates different ones.
    """
    run = RunFolder(run_dir)
    if not _may_generate.get():
        return run.data
    old_data = run.replaced / run.data.name
    is_missing = not (run.data.exists() and any(run.data.iterdir()))
    # Without a run.json, the replaced folder is left from an interrupted setup, and the data may be the user's.
    is_old = (run.replaced / run.description_file.name).is_file() and not old_data.exists()
    if is_missing or is_old:
        temporary = run.path / "data.tmp"  # renamed when complete
        shutil.rmtree(temporary, ignore_errors=True)
        staged = _staged.get(run.path.resolve())
        if staged is not None and staged.exists():
            shutil.move(staged, temporary)
        else:
            write(temporary)
        if run.replaced.is_dir():
            _move_old_data(run.data, temporary, old_data)
        elif run.exists():
            _refuse_other_version(run, temporary)
        rename(temporary, run.data)
    if corpus is not None:
        _check_corpus_version(run, corpus)
    return run.data


def _move_old_data(current: Path, new: Path, old_data: Path) -> None:
    """Move the data of an overwritten run to `old_data`; create an empty folder there if it has none.

    A JSON file next to it lists the names of the new files, to distinguish them from the user's files later.

    Raises:
        ValueError: the data folder contains a file that the recipe does not write.
    """
    write_json(old_data.with_suffix(".json"), sorted(path.name for path in new.iterdir()))
    if not current.exists():
        old_data.mkdir()
        return
    foreign = sorted({path.name for path in current.iterdir()} - {path.name for path in new.iterdir()})
    if foreign:
        raise ValueError(
            f"{current} contains {', '.join(foreign[:3])}, which the recipe does not write and `--overwrite` would "
            "delete: move it elsewhere, or choose another `--run_dir`."
        )
    rename(current, old_data)


def _refuse_other_version(run: RunFolder, new: Path) -> None:
    """Raise ValueError if the data of an existing run are missing, and no newly generated file equals one of them."""
    recorded = set(run.read_description_entry("data_sha256"))
    if any(path.is_dir() for path in new.iterdir()):
        return  # recordings: training compares the content of their lists
    if not recorded & {sha256_of_text(path) for path in new.iterdir()}:
        shutil.rmtree(new)
        raise ValueError(
            f"{run.data} is missing, and this version of seqlab generates other data than the run was trained on: "
            "restore the folder from a copy, or train again with `--overwrite`."
        )


def _check_corpus_version(run: RunFolder, corpus: str) -> None:
    """Compare the data with the checksums of the corpus; an existing run may keep other data.

    Raises:
        ValueError: the data of a new run differ.
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
        logger.info("%s keeps its data, which differ from version %d of %s.", run.path, version, corpus)
