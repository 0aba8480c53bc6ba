"""Everything that a page shows of one run, read from its folder, as values for JSON."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from seqlab.base.parsing import read_json
from seqlab.reports.data_notes import data_notes
from seqlab.reports.error_analysis import (
    confusion_dict,
    confusion_of,
    number_pairs,
    scores_by_frequency,
    scores_by_label,
    scores_by_length,
    worst_rows,
)
from seqlab.reports.metrics_history import read_series
from seqlab.reports.predictions import Predictions, predict_validation, score_rows
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.summary import RunSummary, summarize

logger = logging.getLogger(__name__)
DIAGNOSIS_FILE = "diagnosis.json"
"""File of a run folder with the output of `seqlab diagnose RUN --json`."""
NUM_WORST_ROWS, NUM_SAMPLES = 25, 5
MAX_TRAINING_TEXTS = 100_000
"""Number of training texts whose words are counted."""
REASONS = {
    "by_length": ("quality by length", "neither inputs nor outputs are texts of different lengths"),
    "by_frequency": ("quality by word frequency", "there are no training texts whose words could be counted"),
    "by_label": ("quality by label", "the outputs are not labels"),
    "confusion": ("confusion", "the outputs are not single labels"),
}
"""Section of the predictions -> its title, and why a run may lack it."""


@dataclass
class RunContents:
    """A run as a page shows it."""

    folder: RunFolder
    name: str
    """Label of the run: the name of its folder, or its path."""
    with_predictions: bool = True
    samples: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """Outputs for the first validation examples, by step of the checkpoint; grows while a training is watched."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Section of the page -> reason why this run has none."""
    failed_predictions: str = ""
    """Why the validation set could not be predicted; empty if it was, or if the task makes no predictions."""

    @property
    def path(self) -> str:
        """Path of the run folder."""
        return str(self.folder.path)

    @cached_property
    def summary(self) -> RunSummary:
        """Summary of the run."""
        return summarize(self.folder.path)

    @cached_property
    def config(self) -> Config:
        """Config of the run."""
        return read_config(self.folder)

    @cached_property
    def description(self) -> dict[str, Any]:
        """Content of run.json."""
        return self.folder.read_description()

    @cached_property
    def predictions(self) -> Predictions | None:
        """Predictions of the best checkpoint for the validation set; None without any, with a reason in `left_out`."""
        if not self.with_predictions:
            self.left_out["predictions"] = "they are made after the training, and without `--no_predictions`"
            return None
        if not checkpoint_steps(self.folder.checkpoints):
            self.left_out["predictions"] = self.failed_predictions = "the run has no checkpoint yet"
            return None
        try:
            predictions = predict_validation(self.folder.path, self.config)
        except (OSError, ValueError) as error:
            self.failed_predictions = str(error)
            self.left_out["predictions"] = f"the validation set could not be predicted: {error}"
            return None
        if predictions is None:
            self.left_out["predictions"] = f"{self.summary.kind} has no predictions that are compared with targets"
        return predictions

    def add_samples(self) -> None:
        """Add the outputs of all checkpoints whose outputs are not known yet."""
        rows = range(NUM_SAMPLES if self.predictions is None else min(NUM_SAMPLES, len(self.predictions.records)))
        for step in checkpoint_steps(self.folder.checkpoints):
            if step not in self.samples:
                self.samples[step] = self._sample_outputs(str(step), rows)
        if not any(self.samples.values()):
            self.left_out.setdefault("samples", "this kind of run has no outputs to show")

    def _sample_outputs(self, checkpoint: str, rows: Sequence[int]) -> list[dict[str, Any]]:
        try:
            return list(self.config.data.task.sample_outputs(self.folder.path, checkpoint, rows))
        except (OSError, ValueError, IndexError) as error:  # such as a checkpoint that training has just deleted
            self.left_out["samples"] = f"the outputs could not be computed: {error}"
            return []

    def as_dict(self) -> dict[str, Any]:
        """Return all sections for JSON."""
        self.add_samples()
        summary = self.summary
        predictions = self._predictions_dict()
        return {
            "name": self.name,
            "path": self.path,
            "summary": summary.as_dict(),
            "model_noun": self.config.data.model_noun,
            "output_kind": self.config.data.task.output_kind(self.config),
            "curves": [series.as_dict() for series in self._series()],
            "samples": [{"step": step, "outputs": rows} for step, rows in sorted(self.samples.items()) if rows],
            "predictions": predictions,
            "data": self.description.get("data", {}),
            "data_notes": data_notes(self.description.get("data", {})),
            "diagnosis": self._read_diagnosis(),
            "config": {"changed": list(summary.changed_fields.items()), "text": self.folder.read_config_text()},
            "left_out": self.left_out,
        }

    def _series(self) -> list[Any]:
        series = read_series(self.folder, self.config.objective.shown_logs)
        if not series:
            self.left_out["curves"] = "the run has no measurements yet"
        return series

    def _predictions_dict(self) -> dict[str, Any] | None:
        """Return scores and error analysis of the predictions, with the attention of the worst rows."""
        if (predictions := self.predictions) is None:
            return None
        matrix = confusion_of(predictions)
        sections = {
            "by_length": scores_by_length(predictions),
            "by_frequency": self._by_frequency(predictions),
            "confusion": None if matrix is None else confusion_dict(matrix),
            "by_label": scores_by_label(predictions, matrix),
        }
        self.left_out |= {f"metric {name}": reason for name, reason in predictions.skipped.items()}
        self.left_out |= {title: why for name, (title, why) in REASONS.items() if not sections[name]}
        return {
            "count": len(predictions.records),
            "scores": score_rows(predictions),
            "worst": self._worst_rows(predictions),
            "numbers": number_pairs(predictions),
            **sections,
        }

    def _worst_rows(self, predictions: Predictions) -> list[dict[str, Any]]:
        """Return the worst examples; those of translators with the attention of the best checkpoint."""
        worst = worst_rows(predictions, NUM_WORST_ROWS)
        if predictions.kind != "text" or not worst:
            return worst
        details = self._sample_outputs("best", [row["row"] - 1 for row in worst])
        pieces = [record.get("pieces", []) for record in details]
        rows = [{**row, "pieces": own} for row, own in zip(worst, pieces or repeat([]), strict=False)]
        if not any(row["pieces"] for row in rows):
            self.left_out["attention"] = "the model has no attention from outputs to inputs"
        return rows

    def _by_frequency(self, predictions: Predictions) -> dict[str, Any] | None:
        """Return the scores of words by frequency; None, with the reason, if the training texts cannot be read."""
        try:
            texts = islice(self.config.data.task.training_texts(self.folder.path), MAX_TRAINING_TEXTS)
            return scores_by_frequency(predictions, texts)
        except (OSError, ValueError) as error:
            logger.warning("%s: the training texts cannot be read: %s", self.path, error)
            return None

    def _read_diagnosis(self) -> dict[str, Any] | None:
        """Read the findings of `seqlab diagnose`, if they are stored in the run folder."""
        path = self.folder.path / DIAGNOSIS_FILE
        if not path.is_file():
            run, file = shlex.quote(self.path), shlex.quote(str(path))
            self.left_out["diagnosis"] = f"`seqlab diagnose {run} --json > {file}` finds why a model does not learn"
            return None
        diagnosis = read_json(path)
        if not isinstance(diagnosis, dict) or not isinstance(diagnosis.get("findings"), list):
            raise ValueError(f"{path} is not an output of `seqlab diagnose RUN --json`: delete it, or write it again.")
        return diagnosis


def open_runs(run_dirs: Sequence[str | Path], *, with_predictions: bool = True) -> list[RunContents]:
    """Open run folders for a page, labeled by their names or, if two have the same name, by their paths.

    Raises:
        FileNotFoundError, ValueError: a folder is missing, or is not a run.
    """
    names = [Path(path).resolve().name for path in run_dirs]
    labels = names if len(set(names)) == len(names) else [str(path) for path in run_dirs]
    runs = [
        RunContents(RunFolder(run_dir), label, with_predictions)
        for label, run_dir in zip(labels, run_dirs, strict=True)
    ]
    for run in runs:
        run.folder.refuse_missing()
        run.folder.read_description()
    return runs
