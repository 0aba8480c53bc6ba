"""Compare with tools that watch a training: `runmedic` and `trainspotter` read its log, `torchmortem` its hooks.

The log that the first two read has the training loss, the validation loss, the learning rate, the norm of the gradient
and the units per second of all logged steps, under names that both recognize. `torchmortem` watches the same training,
repeated with the same seed. These tools report symptoms rather than causes: `MEANINGS` lists the causes that a finding
may stand for, in favor of the tool where its text leaves that open.
"""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.faults import PLUGIN
from benchmarks.diagnosis.runs import HEALTHY, PlannedRun

logger = logging.getLogger(__name__)
Findings = list[dict[str, str]]
"""Findings of a tool, most important first: `title`, and `severity`, which is `info` for remarks."""
REMARK = "info"

UNSTABLE = {"lr_too_high", "exploding_gradient", "wrong_sign", "unscaled_inputs", "bad_initialization"}
STUCK = {"lr_too_low", "schedule_ended", "clipping", "no_gradient", "dead_units", "vanishing_gradient"}
MEANINGS: dict[str, dict[str, set[str]]] = {
    "runmedic": {
        "The model is not learning": STUCK | {"shuffled_labels", "shifted_pairs"},
        "Overfitting": {"overfitting", "too_little_data", "duplicates", "label_noise"},
        "Validation loss": {"leakage", "too_much_regularization"},
        "diverge": UNSTABLE,
        "NaN": UNSTABLE,
        "spike": UNSTABLE,
    },
    "trainspotter": {
        "Diverged": UNSTABLE,
        "Loss spike": UNSTABLE,
        "Gradient-norm explosion": UNSTABLE,
        "Gradient clipping": {"clipping"},
        "Plateau": STUCK | {"model_too_small", "too_much_regularization"},
        "Overfitting": {"overfitting", "too_little_data", "duplicates", "label_noise"},
        "No LR warmup": {"lr_too_high"},
        "LR discontinuity": {"schedule_ended"},
        "Suspiciously low loss": {"leakage", "unshifted_targets", "future_visible", "padding_in_loss"},
    },
    "torchmortem": {
        "Vanishing gradients": {"vanishing_gradient"},
        "Exploding gradients": {"exploding_gradient", "bad_initialization", "lr_too_high"},
        "Gradient stalling": {"vanishing_gradient", "no_gradient", "dead_units"},
        "Dead units": {"dead_units"},
        "Activation saturation": {"vanishing_gradient", "unscaled_inputs", "bad_initialization"},
        "Update ratio too low": {"lr_too_low", "schedule_ended", "clipping", "no_gradient"},
        "Update ratio too high": {"lr_too_high"},
        "Training divergence": UNSTABLE,
        "Loss plateau": STUCK | {"model_too_small", "shuffled_labels", "too_much_regularization"},
        "Weight norm explosion": UNSTABLE,
        "Stagnant weight norms": {"lr_too_low", "schedule_ended", "clipping", "no_gradient"},
        "weight norm imbalance": {"bad_initialization"},
        "High gradient noise": {"label_noise", "shuffled_labels"},
    },
}
"""Tool -> part of the title of a finding -> causes that it may stand for."""


def write_log(run_dir: Path, path: Path) -> None:
    """Write the metrics of a run as JSON lines with the names that the tools recognize."""
    lines = []
    for line in map(json.loads, (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()):
        if line["kind"] == "train":
            speed = next((value for name, value in line.items() if name.endswith("_per_second")), None)
            values = {"train_loss": line["loss"], "lr": line["lr"], "grad_norm": line["grad_norm"]}
            lines.append({"step": line["step"], **values, "samples_per_second": speed})
        elif line["kind"] == "valid":
            loss = next((value for name, value in line.items() if name == "loss" or name.startswith("nll")), None)
            lines.append({"step": line["step"], "val_loss": loss})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def ask_runmedic(log: Path) -> Findings:
    """Return the findings of `runmedic diagnose`."""
    [run] = json.loads(_run("runmedic", "diagnose", str(log), "--json"))
    return [{"title": each["title"], "severity": each["severity"]} for each in run["findings"]]


def ask_trainspotter(log: Path) -> Findings:
    """Return the findings of `trainspotter analyze`."""
    found = json.loads(_run("trainspotter.cli", "analyze", str(log), "--output", "json"))["findings"]
    return [{"title": each["title"], "severity": each["severity"]} for each in found]


def _run(module: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(f"{module} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def ask_torchmortem(run_dir: Path) -> Findings:
    """Repeat a training with the hooks of torchmortem, and return its findings."""
    from benchmarks.diagnosis.autopsy import repeat_with_hooks

    again = run_dir.with_name("again")
    try:
        return repeat_with_hooks(run_dir, again)
    finally:
        shutil.rmtree(again, ignore_errors=True)


def ask_all(work_dir: Path, run: PlannedRun) -> dict[str, Any]:
    """Return the findings of each tool for a run, or its error; they are stored in `peers.json` beside the run."""
    folder = run.folder(work_dir)
    path = folder / "peers.json"
    if path.exists():
        stored: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return stored
    log, run_dir = folder / "log.jsonl", folder / "run"
    write_log(run_dir, log)
    tools: dict[str, Callable[[], Findings]] = {
        "runmedic": lambda: ask_runmedic(log),
        "trainspotter": lambda: ask_trainspotter(log),
        "torchmortem": lambda: ask_torchmortem(run_dir),
    }
    answers: dict[str, Any] = {}
    for name, ask in tools.items():
        try:
            answers[name] = ask()
        except (ArithmeticError, RuntimeError, ValueError) as error:
            answers[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
    path.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")
    logger.info("%s: %s", folder, json.dumps(answers))
    return answers


def meanings(tool: str, title: str) -> set[str]:
    """Return the causes that a finding may stand for."""
    return {cause for part, causes in MEANINGS[tool].items() if part.lower() in title.lower() for cause in causes}


def compare(work_dir: Path, runs: Sequence[PlannedRun]) -> str:
    """Ask all tools about all trained runs, and format a table in Markdown."""
    from seqlab.plugins import load_plugin

    load_plugin(PLUGIN)
    trained = [run for run in runs if (run.folder(work_dir) / "run" / "metrics.jsonl").exists()]
    answers = [(run.cause or HEALTHY, ask_all(work_dir, run)) for run in trained]
    lines = [
        "| tool | right cause first | right cause among the findings | healthy runs with a warning | failed |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(tool, [(cause, answer[tool]) for cause, answer in answers]) for tool in MEANINGS]
    return "\n".join(lines)


def _row(tool: str, answers: Sequence[tuple[str, Any]]) -> str:
    answered = [(cause, found) for cause, found in answers if isinstance(found, list)]
    warnings = [(cause, [each for each in found if each["severity"] != REMARK]) for cause, found in answered]
    planted = [(cause, found) for cause, found in answered if cause != HEALTHY]
    healthy = [found for cause, found in warnings if cause == HEALTHY]
    first = sum(bool(found) and cause in meanings(tool, found[0]["title"]) for cause, found in planted)
    among = sum(any(cause in meanings(tool, each["title"]) for each in found) for cause, found in planted)
    total = sum(cause != HEALTHY for cause, _ in answers)
    cells = tool, f"{first} of {total}", f"{among} of {total}", f"{sum(map(bool, healthy))} of {len(healthy)}"
    return f"| {' | '.join(cells)} | {len(answers) - len(answered)} |"
