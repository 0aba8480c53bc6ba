"""Contents of a page over one or several runs, as values for JSON."""

from collections.abc import Sequence
from typing import Any

from seqlab.reports.comparison import compare_runs, reason_not_to_compare
from seqlab.reports.run_contents import RunContents


def page_contents(runs: Sequence[RunContents], reload_seconds: float | None = None) -> dict[str, Any]:
    """Collect what a page shows.

    Args:
        runs: one or several; the first is the baseline of comparisons.
        reload_seconds: interval at which the page reloads itself; None for a page that stays as it is.
    """
    shown = [run.as_dict() for run in runs]  # predicts, before the comparison
    return {
        "runs": shown,
        "comparison": _comparisons(runs) if len(runs) > 1 else None,
        "reload_seconds": reload_seconds,
    }


def _comparisons(runs: Sequence[RunContents]) -> dict[str, Any]:
    """Compare each run with the first; those that cannot be compared are listed apart, with the reason."""
    baseline, *other_runs = runs
    reasons = {run.path: reason_not_to_compare(baseline, run) for run in other_runs}
    return {
        "compared": [compare_runs(baseline, run).as_dict() for run in other_runs if reasons[run.path] is None],
        "apart": [{"run": run.name, "reason": reasons[run.path]} for run in other_runs if reasons[run.path]],
    }
