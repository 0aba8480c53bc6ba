"""Judge `seqlab diagnose`: run it on each healthy and faulty run, and compare its first finding with the planted cause.

Each diagnosis is stored as `diagnosis.json` beside its run and not repeated. Its `findings` are in the order of
confidence; a finding of the level `likely` is above `worth a look`.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.faults import PLUGIN
from benchmarks.diagnosis.runs import HEALTHY, PlannedRun

logger = logging.getLogger(__name__)
NOTHING = "nothing"
"""First cause of a diagnosis without findings."""
LIKELY = "likely"
"""Level of findings above `worth a look`."""
TIMEOUT_FACTOR = 5
"""A diagnosis may take this multiple of its minutes before it is stopped."""
COMMAND = (sys.executable, "-m", "seqlab", "diagnose")


@dataclass(frozen=True)
class Judgement:
    """A diagnosis beside the planted cause."""

    data_set: str
    cause: str
    """The planted cause, or `healthy`."""
    seed: int
    variant: int
    first: str
    """Cause of the first finding."""
    level: str
    """Level of the first finding; empty without findings."""
    rank: int | None
    """Position of the planted cause among the findings, from 1; None if it is not among them."""
    num_likely: int
    """Number of findings above `worth a look`."""
    minutes: float
    error: str = ""
    """Why there is no diagnosis; empty if there is one."""

    @property
    def is_right(self) -> bool:
        """Whether the planted cause is first; for a healthy run, whether no finding is above `worth a look`."""
        return not self.error and (self.num_likely == 0 if self.cause == HEALTHY else self.rank == 1)


def judge(run: PlannedRun, diagnosis: dict[str, Any]) -> Judgement:
    """Compare a diagnosis, or an entry with its `error`, with the planted cause."""
    findings = diagnosis.get("findings", [])
    causes = [finding["cause"] for finding in findings]
    return Judgement(
        run.data_set,
        run.cause or HEALTHY,
        run.seed,
        run.variant,
        first=causes[0] if causes else NOTHING,
        level=findings[0]["level"] if findings else "",
        rank=causes.index(run.cause) + 1 if run.cause in causes else None,
        num_likely=sum(finding["level"] == LIKELY for finding in findings),
        minutes=diagnosis.get("wall_minutes", diagnosis.get("minutes", 0.0)),
        error=diagnosis.get("error", ""),
    )


def diagnose(run_dir: Path, minutes: float, command: Sequence[str] = COMMAND) -> dict[str, Any]:
    """Run the command on a run folder; return its JSON with `wall_minutes`, or an entry with the `error`."""
    options = ["--json", "--minutes", f"{minutes:g}", "--plugin", PLUGIN]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*command, str(run_dir), *options],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60 * minutes * TIMEOUT_FACTOR,
            check=False,
        )
        diagnosis: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        diagnosis = {"error": f"stopped after {minutes * TIMEOUT_FACTOR:g} minutes"}
    except ValueError:
        last_line = (done.stderr.strip().splitlines() or [""])[-1]
        diagnosis = {"error": f"status {done.returncode}: {last_line}"}
    return diagnosis | {"wall_minutes": round((time.monotonic() - start) / 60, 3)}


def judge_all(
    work_dir: Path, runs: Sequence[PlannedRun], minutes: float, command: Sequence[str] = COMMAND
) -> Iterator[Judgement]:
    """Yield the judgement of each run that was trained, and diagnose those that have no diagnosis yet."""
    for run in runs:
        folder = run.folder(work_dir)
        if not (folder / "scores.json").exists():
            logger.warning("%s is not trained yet and left out", folder)
            continue
        path = folder / "diagnosis.json"
        if not path.exists():
            diagnosis = diagnose(folder / "run", minutes, command)
            path.write_text(json.dumps(diagnosis, indent=1) + "\n", "utf-8")
            logger.info("%s: %s", folder, judge(run, diagnosis).first)
        yield judge(run, json.loads(path.read_text("utf-8")))


def report(judgements: Sequence[Judgement]) -> str:
    """Format figures and the confusion table in Markdown."""
    return "\n\n".join((figures(judgements), confusion_table(judgements), wrong_table(judgements)))


def figures(judgements: Sequence[Judgement]) -> str:
    """List the share of right first causes, healthy runs with findings, and minutes."""
    planted = [each for each in judgements if each.cause != HEALTHY]
    healthy = [each for each in judgements if each.cause == HEALTHY]
    alarms = sum(not each.is_right for each in healthy)
    lines = [f"- right cause first: {_share(planted)}"]
    lines += [
        f"  - {data_set}: {_share([each for each in planted if each.data_set == data_set])}"
        for data_set in dict.fromkeys(each.data_set for each in planted)
    ]
    third = sum(each.rank is not None and each.rank <= 3 for each in planted)
    lines += [
        f"- right cause among the first three: {third} of {len(planted)}",
        f"- healthy runs with a finding above `worth a look`: {alarms} of {len(healthy)}",
        f"- minutes at most: {max((each.minutes for each in judgements), default=0):.1f}",
        f"- diagnoses that failed: {sum(bool(each.error) for each in judgements)}",
    ]
    return "\n".join(lines)


def _share(judgements: Sequence[Judgement]) -> str:
    right = sum(each.is_right for each in judgements)
    return f"{right} of {len(judgements)} ({100 * right / max(1, len(judgements)):.0f}%)"


def confusion_table(judgements: Sequence[Judgement]) -> str:
    """Count the first causes of each planted cause; for healthy runs, a first finding below `likely` is nothing."""
    lines = ["| planted | runs | right | first causes |", "|---|---|---|---|"]
    for cause in dict.fromkeys(each.cause for each in judgements):
        rows = [each for each in judgements if each.cause == cause]
        firsts = Counter(_shown(each) for each in rows)
        shown = ", ".join(f"{name} {count}" for name, count in firsts.most_common())
        lines.append(f"| {cause} | {len(rows)} | {sum(each.is_right for each in rows)} | {shown} |")
    return "\n".join(lines)


def _shown(judgement: Judgement) -> str:
    if judgement.error:
        return "failed"
    return NOTHING if judgement.cause == HEALTHY and judgement.num_likely == 0 else judgement.first


def wrong_table(judgements: Sequence[Judgement]) -> str:
    """List the runs that were judged wrong."""
    lines = ["| data set | planted | seed | first | level | rank of the planted cause |", "|---|---|---|---|---|---|"]
    for each in judgements:
        if not each.is_right:
            cells = each.data_set, each.cause, each.seed, each.error or each.first, each.level, each.rank or "-"
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
