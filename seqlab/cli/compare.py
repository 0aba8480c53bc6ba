"""Command `seqlab compare`: compare runs on the same validation set."""

from seqlab.base.bounds import Threads
from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.commands import Command, UsageError
from seqlab.inference.options import SETTINGS, RunPath, set_threads


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CompareOptions:
    """Compare runs with the first one: scores with the paired bootstrap, best validations, configs.

    The validation set is predicted with the best checkpoint of each run. Runs with other references, or without
    predictions and with other data, are an error.
    """

    runs: list[RunPath]
    """run folders, first the baseline"""
    json: bool = False
    """print one JSON object"""
    threads: Threads | None = None
    """number of CPU threads (default: all cores)"""


def run(options: CompareOptions) -> None:
    """Print the comparisons."""
    if len(options.runs) < 2:
        raise UsageError("a comparison needs at least two runs: seqlab compare BASELINE RUN")
    set_threads(options.threads)
    from seqlab.reports.comparison import compare_runs
    from seqlab.reports.run_contents import open_runs

    baseline, *others = open_runs(options.runs)
    compared = [compare_runs(baseline, other) for other in others]
    if options.json:
        print(json_text({"comparisons": [comparison.as_dict() for comparison in compared]}, ensure_ascii=False))
    else:
        print("\n\n".join("\n".join(comparison.lines()) for comparison in compared))


COMPARE = Command(CompareOptions, run)
