"""Train healthy and faulty runs, each in a folder of its own, and store their scores beside them.

`WORK_DIR/DATA_SET/NAME/seed-N` contains the data files, the run folder `run`, and `scores.json`. NAME is the cause, or
`healthy-0` and `healthy-1` for the two variants.
"""

import json
import logging
import shutil
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.data_sets import DATA_SETS
from benchmarks.diagnosis.faults import FAULTS, PLUGIN, Fault

logger = logging.getLogger(__name__)
HEALTHY = "healthy"
VARIANTS = (0, 1)


@dataclass(frozen=True)
class PlannedRun:
    """A healthy or faulty run of a data set and seed."""

    data_set: str
    cause: str
    """The planted cause; empty for a healthy run."""
    variant: int
    seed: int

    def folder(self, work_dir: Path) -> Path:
        """Return the folder of the run and its data."""
        return work_dir / self.data_set / (self.cause or f"{HEALTHY}-{self.variant}") / f"seed-{self.seed}"

    def train(self, work_dir: Path, fault: Fault | None) -> dict[str, Any]:
        """Train, and return the scores; an error of the training becomes an entry."""
        import seqlab

        data_set, folder = DATA_SETS[self.data_set], self.folder(work_dir)
        data = folder / "data"
        shutil.rmtree(folder, ignore_errors=True)
        data.mkdir(parents=True)
        if fault is None:
            splits = data_set.load(self.seed)
            data_set.write(splits, data)
            config = data_set.healthy(data, self.variant, self.seed)
        else:
            config = fault.plant(data_set, data, self.seed)
        scores: dict[str, Any] = asdict(self)
        try:
            seqlab.train(config, folder / "run")
            test = data_set.score(folder / "run", data_set.load(self.seed).test)
        except (ArithmeticError, RuntimeError, ValueError) as error:  # some faults end in a non-finite loss
            logger.warning("%s: %s", folder, traceback.format_exc())
            return scores | {"error": f"{type(error).__name__}: {error}"} | read_scores(folder / "run", data_set.metric)
        return scores | {"test": round(test, 4)} | read_scores(folder / "run", data_set.metric)


def read_scores(run_dir: Path, metric: str) -> dict[str, Any]:
    """Read the last validation of a run, its best one, and the training loss of the first and the last tenth."""
    path = run_dir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    validations = [line for line in lines if line["kind"] == "valid"]
    if not (losses and validations):
        return {}
    tenth, valid_losses = max(1, len(losses) // 10), [_valid_loss(line) for line in validations]
    return {
        "valid": validations[-1].get(metric),
        "valid_loss": valid_losses[-1],
        "best_valid_loss": min(valid_losses),
        "first_loss": losses[0],
        "train_loss": sum(losses[-tenth:]) / tenth,
        "minutes": lines[-1]["minutes"],
    }


def _valid_loss(line: dict[str, Any]) -> float:
    """Return the validation loss of a line of metrics.jsonl, whose name depends on the task."""
    [loss] = [float(value) for name, value in line.items() if name == "loss" or name.startswith("nll")]
    return loss


def planned_runs(
    data_sets: Sequence[str], seeds: Sequence[int], only: Sequence[str] = ()
) -> Iterator[tuple[PlannedRun, Fault | None]]:
    """Yield the runs of data sets and seeds, healthy ones first; `only` selects causes and `healthy`."""
    for data_set in data_sets:
        for seed in seeds:
            for variant in VARIANTS if not only or HEALTHY in only else ():
                yield PlannedRun(data_set, "", variant, seed), None
            for fault in FAULTS:
                if data_set in fault.data_sets and (not only or fault.cause in only):
                    yield PlannedRun(data_set, fault.cause, fault.variant(data_set, seed), seed), fault


def train_all(work_dir: Path, planned: Sequence[tuple[PlannedRun, Fault | None]]) -> None:
    """Train the planned runs that have no scores yet."""
    from seqlab.plugins import load_plugin

    load_plugin(PLUGIN)
    for run, fault in planned:
        path = run.folder(work_dir) / "scores.json"
        if path.exists():
            continue
        scores = run.train(work_dir.resolve(), fault)
        path.write_text(json.dumps(scores, indent=1) + "\n", "utf-8")
        logger.info("%s", json.dumps(scores))


HEADER = ("data set", "cause", "variant", "seed", "validation", "test", "first loss", "last loss", "validation loss")
MARGINS = {"nll_per_tgt_token": -0.05}
"""Metric -> difference that matters, negative if lower values are better; percentages have a margin of 2."""


def hurts(scores: dict[str, Any], healthy: dict[str, Any], margin: float) -> bool:
    """Return whether a fault makes the validation or the test worse than healthy, or the validation too good."""
    if scores.get("valid") is None or scores.get("test") is None:
        return True
    sign = 1 if margin > 0 else -1
    valid, test = (sign * (healthy[name] - scores[name]) for name in ("valid", "test"))
    return max(valid, test, test - valid) > abs(margin)


def evidence_table(work_dir: Path, runs: Sequence[PlannedRun]) -> str:
    """Format the scores of all trained runs in Markdown, and whether each fault hurts."""
    scores: dict[PlannedRun, dict[str, Any]] = {}
    for run in runs:
        path = run.folder(work_dir) / "scores.json"
        if path.exists():
            scores[run] = json.loads(path.read_text("utf-8"))
    lines = [(*HEADER, "hurts"), ("---",) * (len(HEADER) + 1)]
    for run, found in scores.items():
        healthy = scores.get(replace(run, cause=""))
        margin = MARGINS.get(DATA_SETS[run.data_set].metric, 2.0)
        names = ("valid", "test", "first_loss", "train_loss", "valid_loss")
        values = [f"{found[name]:.4g}" if found.get(name) is not None else "" for name in names]
        values[1] = found.get("error") or values[1]
        verdict = "" if healthy is None or not run.cause else "yes" if hurts(found, healthy, margin) else "NO"
        lines.append((run.data_set, run.cause or HEALTHY, str(run.variant), str(run.seed), *values, verdict))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
