"""Summary of a run folder for `seqlab info`, without loading the weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqlab.base.number_text import short_text
from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps, choose_step, read_state
from seqlab.runs.config import Config, to_dict
from seqlab.runs.fields import list_fields
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config


@dataclass(frozen=True)
class BestValidation:
    """Metrics of the best validation."""

    step: int
    scores: dict[str, float]


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run, in the types of JSON."""

    path: str
    seqlab_version: str
    command: str
    family: str
    model: str
    """Family of the model, and of its encoder: `labeler (lstm)`."""
    parameters: int | None
    changed_fields: dict[str, object]
    """Fields of the config that differ from their defaults, by dotted key."""
    kind: str
    """Kind of data: `data.kind`."""
    rows_name: str
    """Word for the examples, such as `pairs`."""
    kept: dict[str, int]
    """Number of examples after filtering, by split."""
    step: int
    """Step of the last checkpoint."""
    max_steps: int | None
    """Planned number of steps; None if the model is estimated by counting."""
    minutes: float
    """Minutes of training up to the last checkpoint."""
    machine: dict[str, Any]
    checkpoints: list[int]
    """Steps of the checkpoints."""
    best: BestValidation | None
    """Validation of the checkpoint that is loaded by default; None if it was not validated."""

    def as_dict(self) -> dict[str, Any]:
        """Return a dict for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the lines of the text output."""
        kept = ", ".join(f"{count:,} {split}" for split, count in self.kept.items())
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items() if value not in ("", False))
        steps = f"{self.step:,} of {self.max_steps:,} steps, " if self.max_steps else ""
        facts = {
            "run": self.path,
            "command": self.command,
            "seqlab": self.seqlab_version,
            "model": self.model + (f", {self.parameters:,} parameters" if self.parameters else ""),
            self.rows_name: kept,
            "training": f"{steps}{self.minutes:.1f} minutes",
            "machine": machine,
            "checkpoints": ", ".join(map(str, self.checkpoints)) or "none yet",
        }
        if self.best is not None:
            scores = ", ".join(f"{name} {short_text(value)}" for name, value in self.best.scores.items())
            facts["best"] = f"step {self.best.step}: {scores} (validation)"
        lines = [f"{name:<13}{fact}" for name, fact in facts.items() if fact]
        return [*lines, "config fields that differ from their defaults:", *self._config_lines()]

    def _config_lines(self) -> list[str]:
        return [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in self.changed_fields.items()]


def summarize(path: str | Path) -> RunSummary:
    """Summarize a run folder; raises the errors of `load_run`."""
    folder = RunFolder(Path(path))
    folder.refuse_missing()
    description, config = folder.read_description(), read_config(folder)
    steps = checkpoint_steps(folder.checkpoints)
    state = read_state(folder.checkpoints / checkpoint_name(steps[-1])) if steps else {}
    progress = state.get("progress", {})
    kept: dict[str, int] = {}
    for corpus in description.get("data", {}).get("corpora", []):
        kept[corpus["split"]] = kept.get(corpus["split"], 0) + corpus["kept"]
        if corpus["split_off"]:
            kept["valid"] = kept.get("valid", 0) + corpus["split_off"]
    return RunSummary(
        path=str(folder.path),
        seqlab_version=description.get("seqlab_version", ""),
        command=" ".join(description.get("command", [])),
        family=config.model.family,
        model=str(config.model),
        parameters=description.get("parameters"),
        changed_fields=changed_fields(config),
        kind=config.data.kind,
        rows_name=config.data.rows_name,
        kept=kept,
        step=progress.get("step", steps[-1] if steps else 0),
        max_steps=None if config.model.is_count_based else config.training.max_steps,
        minutes=progress.get("minutes", 0.0),
        machine=description.get("machine", {}),
        checkpoints=steps,
        best=_best_validation(folder) if steps else None,
    )


def changed_fields(config: Config) -> dict[str, object]:
    """Return the values that differ from their defaults, by dotted key."""
    values = to_dict(config)
    defaults = {(field.key, field.family): field.default for field in list_fields(Config)}
    task_defaults = config.data.defaults
    defaults |= {
        key: task_defaults[key[0]] for key, default in defaults.items() if default is None and key[0] in task_defaults
    }
    return {
        field.key: field.default
        for field in list_fields(Config, values)
        if field.is_chosen and field.default != defaults[field.key, field.family]
    }


def _best_validation(folder: RunFolder) -> BestValidation | None:
    """Return the metrics of the best checkpoint, without metrics of single columns, which have a dot in their name."""
    step, best = choose_step(folder, "best"), None
    for entry in folder.read_metrics():
        if entry["kind"] == "valid" and entry["step"] == step:
            numbers = {name: value for name, value in entry.items() if isinstance(value, float)}
            scores = {name: value for name, value in numbers.items() if name != "minutes" and "." not in name}
            best = BestValidation(step, scores)
    return best
