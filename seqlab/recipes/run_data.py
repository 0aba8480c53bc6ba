"""Generate the data of a recipe in the run folder."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from seqlab.base.atomic_io import rename
from seqlab.corpora import CORPORA, locate
from seqlab.corpora.description import sha256_of_text
from seqlab.runs.folder import RunFolder

logger = logging.getLogger(__name__)
_may_generate = ContextVar("_may_generate", default=True)
"""Whether `generated_data` writes files; not while help is printed."""


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
    run.json.

    Args:
        run_dir: the run folder.
        write: function that creates a folder and writes all files into it.
        corpus: name of the corpus whose checksums new files must match.

    Raises:
        ValueError: the folder contains files that differ from the corpus; or the files of an existing run are missing,
            and `write` generates different ones.
    """
    run = RunFolder(run_dir)
    if not _may_generate.get():
        return run.data
    if not (run.data.exists() and any(run.data.iterdir())):
        temporary = run.path / "data.tmp"  # renamed when complete
        shutil.rmtree(temporary, ignore_errors=True)
        write(temporary)
        if run.exists():
            _refuse_other_version(run, temporary)
        rename(temporary, run.data)
    if corpus is not None:
        _check_corpus_version(run, corpus)
    return run.data


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
