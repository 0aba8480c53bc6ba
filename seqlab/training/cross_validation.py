"""Cross-validation: one run for each fold, and the mean scores of the best checkpoints on the held-out rows."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from seqlab.base.atomic_io import write_bytes, write_json
from seqlab.base.json_text import json_text
from seqlab.base.number_text import short_text
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.summary import summarize
from seqlab.training.train import train

logger = logging.getLogger(__name__)
FOLD = "fold_{:02}"
"""Name of the run folder of a fold."""
REPORT = "folds.json"
PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class MetricMean:
    """Mean of a metric over all folds."""

    mean: float
    standard_error: float
    """Standard deviation over the folds divided by the square root of their number. It is slightly too small, as the
    folds share training rows."""


@dataclass(frozen=True)
class FoldsReport:
    """Scores of a cross-validation."""

    folds: list[dict[str, float]]
    """For each fold the metrics of its best checkpoint."""

    def means(self) -> dict[str, MetricMean]:
        """Return the mean of each metric over the folds."""
        means = {}
        for name in self.folds[0]:
            values = [fold[name] for fold in self.folds]
            means[name] = MetricMean(mean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0)
        return means

    def lines(self) -> list[str]:
        """Render for people."""
        means = self.means().items()
        return [
            f"{name} {short_text(metric.mean)} ± {short_text(metric.standard_error)} ({len(self.folds)} folds)"
            for name, metric in means
        ]

    def to_json(self) -> dict[str, Any]:
        """Render for JSON."""
        return {"folds": self.folds, "means": {name: asdict(metric) for name, metric in self.means().items()}}


def check_folds(config: Config, folder: Path, num_folds: int) -> list[str]:
    """Check all folds and the folder before anything is written; return warnings of what is in several folds.

    Raises:
        ValueError: the data cannot be divided, or the folder has other content.
    """
    if num_folds < 2:
        raise ValueError(f"`folds` must be at least 2, but is {num_folds} instead.")
    if RunFolder(folder).exists():
        raise ValueError(f"{folder} is a run, not the folder of one run for each fold: choose another `--run_dir`.")
    for path in (folder / REPORT, folder / PREDICTIONS):
        if path.exists() and not RunFolder(folder / FOLD.format(1)).exists():
            raise ValueError(f"{path} exists, but not the runs of a cross-validation: choose another `--run_dir`.")
    return config.data.check_folds(num_folds)


def train_folds(
    config: Config, folder: str | Path, num_folds: int, *, overwrite: bool = False, command: Sequence[str] = ()
) -> FoldsReport:
    """Train one run for each fold into `folder/fold_01` and so on; the same call continues after an interruption.

    Writes `folds.json`, and if the task defines predictions `predictions.jsonl`: the prediction for each row by the run
    that was not trained on it. The scores are those of the best checkpoint of each fold. They are optimistic if the
    held-out rows also select this checkpoint, and even more if they select the config. With recordings, other rows of
    the training data select the checkpoint.

    Args:
        config: the config of each run; its section `data` assigns rows to folds.
        folder: the folder of the runs.
        num_folds: at least 2.
        overwrite: replace existing runs.
        command: the command line, for each run.json.

    Raises:
        ValueError: the task does not support folds, there are too few rows, or `folder` is a run; and as `train`.
    """
    folder = Path(folder)
    for warning in check_folds(config, folder, num_folds):
        logger.warning("%s", warning)
    scores_of_folds, predictions = [], []
    for number in range(1, num_folds + 1):
        fold = replace(config, data=config.data.for_fold(number, num_folds))
        run_dir = train(fold, folder / FOLD.format(number), overwrite=overwrite, command=command)
        fold_predictions = list(fold.data.task.validation_predictions(run_dir))
        scores = fold.data.task.fold_scores(fold_predictions)
        if scores is None:
            best = summarize(run_dir).best
            assert best is not None, "a finished run was validated"
            scores = best.scores
        scores_of_folds.append(scores)
        predictions += [{"fold": number, **prediction} for prediction in fold_predictions]
        shown = ", ".join(f"{name} {short_text(value)}" for name, value in scores.items())
        logger.info("fold %d of %d: %s", number, num_folds, shown)
    report = FoldsReport(scores_of_folds)
    if predictions:
        text = "".join(json_text(prediction, ensure_ascii=False) + "\n" for prediction in predictions)
        write_bytes(folder / PREDICTIONS, text.encode())
    write_json(folder / REPORT, report.to_json())
    return report
