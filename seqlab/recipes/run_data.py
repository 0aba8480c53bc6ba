"""Data that a recipe writes itself, into the run folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

from seqlab.corpora import CORPORA, locate
from seqlab.durable import rename
from seqlab.runs.folder import RunFolder


def written(run_dir: str | Path, write: Callable[[Path], object], corpus: str | None = None) -> Path:
    """Return `run_dir/data`, into which `write` writes unless something is there already.

    An existing run keeps its files, whichever version of `write` they are from: training compares them with run.json.
    Those of a run that is being overwritten are set aside with it. `corpus` names the description to which new files
    are compared.

    Raises:
        ValueError: the folder holds other files than those of the corpus, or some that `write` does not write.
    """
    run = RunFolder(run_dir)
    is_overwritten = run.replaced.is_dir() and not (run.replaced / run.data.name).exists()
    if is_overwritten or not (run.data.exists() and any(run.data.iterdir())):
        building = run.path / "data.tmp"  # whole or absent, whatever ends the process meanwhile
        shutil.rmtree(building, ignore_errors=True)
        write(building)
        if run.data.exists() and is_overwritten:
            _refuse_foreign_files(run.data, building)
            rename(run.data, run.replaced / run.data.name)
        rename(building, run.data)
    if corpus is not None and not run.exists():
        try:
            locate(corpus, run.data)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(
                f"{run.data} does not hold version {CORPORA[corpus].version} of {corpus}, which this recipe writes: "
                f"delete the folder, or choose another `--run_dir`. {error}"
            ) from error
    return run.data


def _refuse_foreign_files(old: Path, new: Path) -> None:
    """Raise ValueError where a folder that is to be replaced holds what its recipe never wrote."""
    foreign = sorted({path.name for path in old.iterdir()} - {path.name for path in new.iterdir()})
    if foreign:
        raise ValueError(
            f"{old} holds {', '.join(foreign[:3])}, which the recipe does not write and `--overwrite` would delete: "
            "move it away, or choose another `--run_dir`."
        )
