"""Whether a model has the methods that its objective and its validation call: found out before the first step."""

from typing import Any

from seqlab.models.interfaces import missing_methods
from seqlab.runs.config import Config
from seqlab.search.search import fitting_search
from seqlab.training.task import Task


def check_model(model: Any, config: Config, task: Task) -> None:
    """Raise ValueError where a model lacks a method that will be called, naming what is missing."""
    by_objective = f"`objective.family: {config.objective.family}`"
    for caller, protocols in ((by_objective, config.objective.needs), ("its validation", task.needs)):
        for protocol in protocols:
            if lacking := missing_methods(model, protocol):
                raise ValueError(
                    f"`model.family: {config.model.family}` cannot be trained: {caller} needs a `{protocol.__name__}` "
                    f"(see `seqlab.models.interfaces`), but {type(model).__name__} lacks {', '.join(lacking)}."
                )
    if task.decodes:
        fitting_search(model, config.training.valid_search)
