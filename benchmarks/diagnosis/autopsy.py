"""Repeat a training with the hooks of torchmortem, by an objective that watches the built-in one."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from torchmortem import Autopsy

import seqlab
from seqlab.base.config_class import dataclass
from seqlab.objectives import SETTINGS, Loss, ObjectiveConfig, StepContext
from seqlab.objectives.loss import ModelFactory
from seqlab.registry import Parts
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config

AUTOPSIES: list[Autopsy] = []
"""The autopsy of the last training that was started."""


class WatchedObjective:
    """An objective that reports the mean loss of each step to torchmortem."""

    def __init__(self, objective: Any, model: Any) -> None:
        self.objective, self.total, self.count = objective, 0.0, 0.0
        self.autopsy = Autopsy(model)
        self.autopsy.attach()
        AUTOPSIES[:] = [self.autopsy]

    def __call__(self, model: Any, batch: Any, context: StepContext) -> Loss:
        """Compute the loss of a batch."""
        loss: Loss = self.objective(model, batch, context)
        self.total, self.count = self.total + float(loss.total.detach()), self.count + float(loss.count)
        return loss

    def observe(self, sums: dict[str, Tensor]) -> None:
        """Report a step after its update."""
        self.autopsy.step(loss=self.total / max(1.0, self.count))
        self.total = self.count = 0.0


def watched(objective: ObjectiveConfig) -> ObjectiveConfig:
    """Return the config of an objective that is watched; it is registered at the first call."""
    base, name = type(objective), f"{objective.family}_watched"
    parts: Any = Parts("objective")
    if name not in parts:

        def build_for(self: Any, model: Any, factory: ModelFactory | None = None) -> WatchedObjective:
            return WatchedObjective(base.build_for(self, model, factory), model)

        members: dict[str, Any] = {"__annotations__": {"family": Literal[name]}, "family": name, "build_for": build_for}
        members |= {"__doc__": f"The objective `{objective.family}`, watched.", "__module__": __name__}
        config = type(f"Watched{base.__name__}", (base,), members)
        seqlab.register("objective")(dataclass(frozen=True, kw_only=True, config=SETTINGS)(config))
    values = {each.name: getattr(objective, each.name) for each in fields(objective) if each.name != "family"}  # type: ignore[arg-type]
    result: ObjectiveConfig = parts[name](**values)
    return result


def repeat_with_hooks(run_dir: Path, again: Path) -> list[dict[str, str]]:
    """Train a run again in another folder, validating only at the end; return the findings, most important first."""
    config = read_config(RunFolder(run_dir))
    steps = config.training.num_steps
    training = replace(config.training, valid_every=steps, save_every=steps)
    try:
        seqlab.train(replace(config, objective=watched(config.objective), training=training), again, overwrite=True)
    finally:
        AUTOPSIES[0].detach()
    report = AUTOPSIES[0].get_report()
    findings = sorted(report.findings, key=lambda each: -each.severity) if report else []
    return [{"title": each.title, "severity": each.severity.name.lower()} for each in findings]
