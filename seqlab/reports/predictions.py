"""Predictions of a run for its validation set, and their scores by the metrics of the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqlab.evaluation.bootstrap import Interval, bootstrap_interval
from seqlab.evaluation.metrics import METRICS, line_statistics
from seqlab.evaluation.score import LineStatistics
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder

FALLBACK_METRICS = {
    "text": ("chrf", "wer", "exact_match"),
    "label": ("accuracy", "macro_f1"),
    "labels of words": ("accuracy", "macro_f1"),
    "set of labels": ("micro_f1", "label_macro_f1"),
    "numbers": ("mae", "rmse"),
}
"""What an output holds (`Task.output_kind`) -> metrics to show if the run has not logged any."""


@dataclass(frozen=True)
class Predictions:
    """Predictions and targets of the validation set, in its order."""

    kind: str
    """What a line holds; see `Task.output_kind`."""
    records: list[dict[str, Any]]
    """Records of `Task.validation_predictions`."""
    statistics: dict[str, LineStatistics]
    """Statistics of each line, by metric; the metric that selects checkpoints first."""
    skipped: dict[str, str]
    """Metrics that cannot be computed from predictions, with the reasons."""

    @property
    def predicted(self) -> list[str]:
        """The predicted line of each example."""
        return [str(record["prediction"]) for record in self.records]

    @property
    def targets(self) -> list[str]:
        """The target line of each example."""
        return [str(record["target"]) for record in self.records]

    @property
    def main_metric(self) -> str:
        """Name of the metric that ranks runs: the one that selects checkpoints, if it is computed."""
        return next(iter(self.statistics))

    def intervals(self) -> dict[str, Interval]:
        """Compute each score with its 95% confidence interval."""
        return {name: bootstrap_interval(statistic) for name, statistic in self.statistics.items()}

    def input_of(self, row: int) -> str:
        """Return the input of an example: its text or, without one, its location."""
        record = self.records[row]
        names = (name for name in ("src", "audio", "example") if record.get(name))
        return str(record.get(next(names, ""), f"row {row + 1}"))


def predict_validation(run_dir: str | Path, config: Config) -> Predictions | None:
    """Predict the validation set with the best checkpoint; None if the task makes no predictions.

    Raises:
        OSError, ValueError: the run has no checkpoint, or its data cannot be read any more.
    """
    task = config.data.task
    records = list(task.validation_predictions(Path(run_dir)))
    if not records:
        return None
    kind = task.output_kind(config)
    lines = [[str(record[name]) for record in records] for name in ("prediction", "target")]
    hypotheses, references = as_metric_lines(kind, *lines)
    statistics: dict[str, LineStatistics] = {}
    skipped: dict[str, str] = {}
    for name in metric_names(RunFolder(run_dir), config, kind):
        try:
            statistics[name] = line_statistics(name, hypotheses, [references])
        except ValueError as error:
            skipped[name] = str(error)
    if not statistics:
        raise ValueError(f"no metric can be computed from the predictions: {skipped}")
    return Predictions(kind, records, statistics, skipped)


def as_metric_lines(kind: str, predicted: Sequence[str], targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Replace single labels by numbers, as metrics read each word as a label; return other lines unchanged."""
    if kind != "label":
        return list(predicted), list(targets)
    numbers: dict[str, str] = {}
    for label in [*targets, *predicted]:
        numbers.setdefault(label, str(len(numbers)))
    return [numbers[label] for label in predicted], [numbers[label] for label in targets]


def metric_names(folder: RunFolder, config: Config, kind: str) -> list[str]:
    """Return the metrics that the validations of a run have logged, first the one that selects checkpoints."""
    logged = dict.fromkeys(name for line in folder.read_metrics() if line["kind"] == "valid" for name in line)
    names = [name for name in (str(config.training.valid_metric), *logged) if name in METRICS]
    return list(dict.fromkeys(names)) or list(FALLBACK_METRICS[kind])


def score_rows(predictions: Predictions) -> list[Mapping[str, Any]]:
    """Return the scores with intervals and signatures, for JSON."""
    return [
        {**interval.score.as_dict(), "metric": name, "decimals": interval.score.decimals, **interval.as_dict()}
        for name, interval in predictions.intervals().items()
    ]
