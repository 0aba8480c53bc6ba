"""Write the page of runs to a file, once or again and again while a run trains."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from seqlab.base.atomic_io import is_locked, write_bytes
from seqlab.reports.contents import page_contents
from seqlab.reports.page import render_page
from seqlab.reports.run_contents import RunContents, open_runs

logger = logging.getLogger(__name__)


def write_page(path: str | Path, run_dirs: Sequence[str | Path], *, with_predictions: bool = True) -> None:
    """Write a page about one or several runs.

    Raises:
        FileNotFoundError, ValueError: the path does not end in .html, a run is missing or damaged, or is named twice.
    """
    check_paths(path, run_dirs)
    write_contents(path, open_runs(run_dirs, with_predictions=with_predictions))


def watch_runs(
    path: str | Path, run_dirs: Sequence[str | Path], seconds: float, *, with_predictions: bool = True
) -> None:
    """Write the page every `seconds` until no run trains any more, then a last time with all predictions.

    While a run trains, the page has the outputs of each new checkpoint for a few examples, but not the predictions for
    the whole validation set, which would slow the training down. The samples of deleted checkpoints stay.

    Raises:
        FileNotFoundError, ValueError: as for `write_page`.
    """
    check_paths(path, run_dirs)
    samples: dict[str, dict[int, list[dict[str, object]]]] = {}
    while True:
        runs = open_runs(run_dirs, with_predictions=False)
        is_training = any(is_locked(run.folder.path) for run in runs)
        if not is_training:
            runs = open_runs(run_dirs, with_predictions=with_predictions)
        for run in runs:
            run.samples = samples.setdefault(run.path, {})
        write_contents(path, runs, seconds if is_training else None)
        if not is_training:
            return
        logger.info("wrote %s", path)
        time.sleep(seconds)


def write_contents(path: str | Path, runs: Sequence[RunContents], reload_seconds: float | None = None) -> None:
    """Write the page of opened runs."""
    write_bytes(Path(path), render_page(page_contents(runs, reload_seconds)).encode())


def check_paths(path: str | Path, run_dirs: Sequence[str | Path]) -> None:
    """Raise ValueError if the path of the page is not that of an HTML file, or a run is named twice."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"The path of a page must end in .html, but is {path} instead.")
    folders = [Path(run_dir).resolve() for run_dir in run_dirs]
    for folder, run_dir in zip(folders, run_dirs, strict=True):
        if folders.count(folder) > 1:
            raise ValueError(f"{run_dir} is named twice: name each run once.")
