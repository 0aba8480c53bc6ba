"""Whether a model has the methods that its objective and its validation call: found out before the first step."""

from typing import Any

from seqlab.evaluation.metrics import METRICS, line_statistics
from seqlab.models.interfaces import EmbeddingModel, missing_methods
from seqlab.runs.config import Config
from seqlab.search.search import select_search
from seqlab.training.task import Task


def check_model(model: Any, config: Config, task: Task) -> None:
    """Raise ValueError where a model lacks a method that will be called, naming what is missing."""
    callers = {
        f"`objective.family: {config.objective.family}`": config.objective.needs,
        "its validation": task.needs,
        "starting from word vectors": (EmbeddingModel,) if config.data.vector_files() else (),
    }
    for caller, protocols in callers.items():
        for protocol in protocols:
            if lacking := missing_methods(model, protocol):
                raise ValueError(
                    f"`model.family: {config.model.family}` cannot be trained: {caller} needs what "
                    f"`{protocol.__name__}` of `{protocol.__module__}` has, but {type(model).__name__} lacks "
                    f"{', '.join(lacking)}."
                )
    if task.decodes:
        select_search(model, config.training.valid_search)
        if (metric := config.training.valid_metric) in METRICS:
            try:  # what it needs may not be installed
                line_statistics(str(metric), ["a"], [["a"]])
            except ValueError as error:
                raise ValueError(f"`training.valid_metric: {metric}`: {error}") from None
