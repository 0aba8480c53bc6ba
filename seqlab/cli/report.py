"""Command `seqlab report`: write a page about one or several runs."""

from typing import Annotated

from seqlab.base.bounds import Positive, Threads
from seqlab.base.config_class import dataclass
from seqlab.commands import AsOption, Command
from seqlab.inference.options import SETTINGS, File, RunPath, set_threads


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ReportOptions:
    """Write an HTML page about one or several runs: curves, predictions, errors, data, config.

    The page is one file without requests to other hosts. The validation set is predicted with the best checkpoint of
    each run. Several runs are compared with the first one.
    """

    runs: list[RunPath]
    """run folders"""
    out: Annotated[File, AsOption, "PAGE"]
    """the .html file"""
    no_predictions: bool = False
    """leave out predictions and samples, which need the model"""
    watch: bool = False
    """rewrite the page while a run trains; it reloads itself"""
    every: Annotated[Positive, "SECONDS"] = 15
    """seconds between two versions of the page, with --watch"""
    threads: Threads | None = None
    """number of CPU threads (default: all cores)"""


def run(options: ReportOptions) -> None:
    """Write the page."""
    set_threads(options.threads)
    from seqlab.reports.write_page import watch_runs, write_page

    if options.watch:
        watch_runs(options.out, options.runs, options.every, with_predictions=not options.no_predictions)
    else:
        write_page(options.out, options.runs, with_predictions=not options.no_predictions)


REPORT = Command(ReportOptions, run)
