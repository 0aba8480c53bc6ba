"""What a run folder says about itself, without loading its weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps, choose_step, read_state
from seqlab.runs.config import Config, to_dict
from seqlab.runs.fields import list_fields
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config


@dataclass(frozen=True)
class BestValidation:
    """The figures of the best validation."""

    step: int
    scores: dict[str, float]


@dataclass(frozen=True)
class RunSummary:
    """A run in numbers; only what JSON can hold."""

    path: str
    seqlab_version: str
    command: str
    family: str
    parameters: int | None
    changed_fields: dict[str, object]
    """the fields of the config that differ from their defaults, by dotted key"""
    kind: str
    """what it learnt from: the `data.kind`"""
    rows_name: str
    """what its examples are called"""
    kept: dict[str, int]
    """pairs or lines of text that were kept, by split"""
    step: int
    """updates done, as of the last checkpoint"""
    max_steps: int | None
    """None where the model is counted, not optimised"""
    minutes: float
    """time spent in training, as of the last checkpoint"""
    machine: dict[str, Any]
    checkpoints: list[int]
    best: BestValidation | None
    """the validation of the checkpoint that is loaded by default; None where there was none"""

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Render for people."""
        kept = ", ".join(f"{count:,} {split}" for split, count in self.kept.items())
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        steps = f"{self.step:,} of {self.max_steps:,} steps, " if self.max_steps else ""
        facts = {
            "run": self.path,
            "command": self.command,
            "seqlab": self.seqlab_version,
            "model": self.family + (f", {self.parameters:,} parameters" if self.parameters else ""),
            self.rows_name: kept,
            "training": f"{steps}{self.minutes:.1f} minutes",
            "machine": machine,
            "checkpoints": ", ".join(map(str, self.checkpoints)) or "none yet",
        }
        if self.best is not None:
            scores = ", ".join(f"{name} {value:.3f}" for name, value in self.best.scores.items())
            facts["best"] = f"step {self.best.step}: {scores} (validation)"
        lines = [f"{name:<13}{fact}" for name, fact in facts.items() if fact]
        return [*lines, "config, where it is not the default:", *self._config_lines()]

    def _config_lines(self) -> list[str]:
        return [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in self.changed_fields.items()]


def summarize(path: str | Path) -> RunSummary:
    """Read a run folder's own description; errors as `load_run`."""
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
        best=_best(folder) if steps else None,
    )


def changed_fields(config: Config) -> dict[str, object]:
    """Return the fields whose value is not the default of their type, by dotted key."""
    values = to_dict(config)
    defaults = {(field.key, field.family): field.default for field in list_fields(Config)}
    by_kind = config.data.defaults
    defaults |= {key: by_kind[key[0]] for key, default in defaults.items() if default is None and key[0] in by_kind}
    return {
        field.key: field.default
        for field in list_fields(Config, values)
        if field.chosen and field.default != defaults[field.key, field.family]
    }


def _best(folder: RunFolder) -> BestValidation | None:
    step, best = choose_step(folder, "best"), None
    for entry in folder.read_metrics():
        if entry["kind"] == "valid" and entry["step"] == step:
            figures = {name: value for name, value in entry.items() if isinstance(value, float)}
            shown = {name: value for name, value in figures.items() if name != "minutes" and "." not in name}
            best = BestValidation(step, shown)  # without those of single columns, which a dot divides from their name
    return best
