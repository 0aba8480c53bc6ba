"""Recording classification task: train on batches of similar length, validate by accuracy and macro F1."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqlab.audio.codec import fit_recording_codec
from seqlab.base.reading_notes import ReadingNotes
from seqlab.base.world import ProgressCallback, World
from seqlab.data.batch import IGNORE, ValueBatch, collate_values
from seqlab.data.classes import describe_two_spellings, two_spellings
from seqlab.data.labels import note_doubtful_labels, warn_of_labels
from seqlab.data.recording_splits import Indices, RecordingSplits, split_recordings
from seqlab.data.recording_steps import RecordingSteps
from seqlab.data.recordings import Recordings, read_recordings
from seqlab.data.recordings_report import RecordingsReport
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.data.targets import UNSEEN_CLASS, ClassTarget
from seqlab.evaluation import evaluate
from seqlab.objectives import StepContext
from seqlab.objectives.prediction_losses import Predictor
from seqlab.runs.codecs import load_codecs, save_codec
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import Override
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.tasks.recording_labels.recordings_labeler import load_recording_labeler
from seqlab.training.recording_zero_config import choose_config_by_recordings
from seqlab.training.resume import refuse_changed_reading
from seqlab.training.task import Codecs, OutputKind, Split, Task, rows_of
from seqlab.training.validation import RunInTraining, Validation, inference_model

logger = logging.getLogger(__name__)


def _data_config(config: Config) -> RecordingLabelsConfig:
    assert isinstance(config.data, RecordingLabelsConfig)
    return config.data


BASE = {"data.kind": "recording_labels", "model.family": "recording_labeler", "objective.family": "softmax"}
"""Zero-config choices that do not depend on the recordings."""


def from_labeled_recordings(overrides: Sequence[Override]) -> Config:
    """Choose the fields that are not in `overrides`, based on the recordings; see `choose_config_by_recordings`."""
    return choose_config_by_recordings(overrides, BASE, {})


@dataclass(frozen=True)
class LabeledRecordings:
    """Recordings of all splits, and their labels."""

    recordings: Recordings
    splits: RecordingSplits
    labels: list[str]
    report: RecordingsReport
    content_hashes: dict[str, str]
    reading: ReadingNotes
    """What was converted or left out when the recordings were read."""

    @property
    def train(self) -> Indices:
        """Indices of the training recordings."""
        return self.splits.train

    @property
    def valid(self) -> Indices:
        """Indices of the validation recordings."""
        return self.splits.valid


class RecordingLabelsTask(Task):
    """Classification of recordings, validated by accuracy and macro F1."""

    batch_type = ValueBatch
    unit = "recordings"
    needs = (Predictor,)

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Fit the codec of the recordings to the training split, and save it."""
        data = _data_config(config)
        labeled = read_labeled_recordings(data, folder.cache, on_progress)
        waveforms = [labeled.recordings.waveform(i) for i in labeled.train.tolist()]
        codec = fit_recording_codec(data, waveforms, has_times=False)
        save_codec(codec, folder, "src")
        return {}

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
        """Save the labels of the training split as the target codec, unless `init_from` copies all weights.

        Raises:
            ValueError: there are fewer than two labels, or the other model lacks one of them.
        """
        data = _data_config(config)
        labeled = read_labeled_recordings(data, folder.cache, on_progress)
        labels = sorted({labeled.labels[i] for i in labeled.train.tolist()})
        if config.init_from is not None and config.init_parts == "all":
            old_labels = load_codecs(RunFolder(Path(config.init_from)))[1].values
            if new := [label for label in labels if label not in old_labels]:
                raise ValueError(
                    f"The training data have the label {new[0]!r}, which the model of {config.init_from} does not have "
                    f"({', '.join(old_labels)}): set `init_parts: matching` for a new set of labels."
                )
            return
        if len(labels) < 2:
            raise ValueError(
                f"All training recordings have the label {''.join(labels)!r} (column {data.text_column!r}): set "
                "`data.text_column` to the column of the labels."
            )
        are_listed = not all(Path(spec).expanduser().is_dir() for spec in data.train)
        if are_listed and (pair := two_spellings(labels)) is not None:
            first = next(i for i in labeled.train.tolist() if labeled.labels[i] == pair[1])
            raise ValueError(f"{labeled.recordings.locate(first)}: {describe_two_spellings(*pair)}")
        note_doubtful_labels(labels)
        save_codec(ClassTarget(data.text_column, labels), folder, "tgt")

    def prepare(
        self, config: Config, codecs: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> LabeledRecordings:
        """Open the recordings and their labels."""
        config.model.check_sides(*codecs)
        labeled = read_labeled_recordings(_data_config(config), cache, on_progress)
        if on_progress is not None:
            _warn_of_labels(labeled, codecs[1].values)
        return labeled

    def steps(
        self, data: LabeledRecordings, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[ValueBatch]]:
        """Yield batches of recordings of similar length, with augmentation."""
        return recording_steps(data, config, codecs).steps(data.train, world.rank, world.world_size, after)

    def split_batches(
        self, data: LabeledRecordings, config: Config, codecs: Codecs, split: Split
    ) -> Iterator[ValueBatch]:
        """Yield each recording of a split once, in batches of similar length, without augmentation."""
        return (batch for _, batch in recording_steps(data, config, codecs).batches(rows_of(data, split)))

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Compute the loss and the metrics on the validation split."""
        model, data, target = inference_model(run, weights), run.data, run.codecs[1]
        batches = list(recording_steps(data, run.config, run.codecs).batches(data.valid))
        objective = run.config.objective.build()

        @torch.inference_mode()
        def compute(
            numbers: list[int], on_rows: ProgressCallback | None
        ) -> list[tuple[list[tuple[int, int]], float, float]]:
            outcomes = []
            for number in numbers:
                rows, batch = batches[number]
                batch = batch.to(run.device_context.device)
                loss = objective(model, batch, StepContext(0))
                best = model(batch).float().argmax(1).tolist()
                outcomes.append((list(zip(rows.tolist(), best, strict=True)), float(loss.total), float(loss.count)))
            return outcomes

        results = run.device_context.world.map_rows([len(rows) for rows, _ in batches], compute)
        best = np.array([label for _, label in sorted(pair for pairs, _, _ in results for pair in pairs)])
        nll = sum(result[1] for result in results) / max(1.0, sum(result[2] for result in results))
        label_ids = {label: number for number, label in enumerate(target.values)}
        references = [str(label_ids.get(data.labels[i], UNSEEN_CLASS)) for i in data.valid]
        names = dict.fromkeys(["accuracy", "macro_f1", str(run.config.training.valid_metric)])
        metrics = [name for name in names if name != "nll"]
        return Validation(evaluate(list(map(str, best.tolist())), [references], metrics), nll, "loss")

    def constant_scores(self, run: RunInTraining) -> dict[str, float]:
        """Return the accuracy of the most frequent label of the training data."""
        [(most_frequent, _)] = Counter(run.data.labels[i] for i in run.data.train.tolist()).most_common(1)
        return {"accuracy": 100 * float(np.mean([run.data.labels[i] == most_frequent for i in run.data.valid]))}

    def validation_predictions(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield the predicted label of each recording of the test fold or, without one, of the validation split."""
        yield from _predictions(run_dir, "best", slice(None))

    def sample_outputs(self, run_dir: Path, checkpoint: str, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the predicted labels of some of these recordings."""
        yield from _predictions(run_dir, checkpoint, list(rows))

    def output_kind(self, config: Config) -> OutputKind:
        """Return that each recording has one label."""
        return "label"

    def fold_scores(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Compute accuracy and macro F1 of the test fold."""
        labels, references = (
            [_as_word(prediction[name]) for prediction in predictions] for name in ("prediction", "target")
        )
        return {name: score.value for name, score in evaluate(labels, [references], ["accuracy", "macro_f1"]).items()}

    def locate(self, data: LabeledRecordings, index: int) -> str:
        """Return the location of a recording: the list and line that name it, or its file."""
        return data.recordings.locate(index)


def _predictions(run_dir: Path, checkpoint: str, rows: slice | list[int]) -> Iterator[dict[str, Any]]:
    """Yield predictions of a checkpoint for recordings of the test fold or, without one, of the validation split."""
    config = read_config(RunFolder(run_dir))
    data = read_labeled_recordings(_data_config(config), RunFolder(run_dir).cache, None)
    refuse_changed_reading(RunFolder(run_dir), data.reading)
    indices = (data.splits.test if len(data.splits.test) else data.valid)[rows]
    labeler = load_recording_labeler(run_dir, checkpoint, config.training.device)
    results = labeler.label_waveforms([data.recordings.waveform(i) for i in indices])
    for index, result in zip(indices.tolist(), results, strict=True):
        yield data.recordings.examples[index].prediction_record(result.label, data.labels[index])


def _as_word(label: str) -> str:
    """Replace the spaces of a label, since metrics compare lines word by word."""
    return "_".join(label.split()) or UNSEEN_CLASS


def _warn_of_labels(data: LabeledRecordings, names: Sequence[str]) -> None:
    """Warn of labels that are similar, and of those that only validation recordings have."""
    warn_of_labels(names)
    if not {data.labels[i] for i in data.valid.tolist()} & {*names}:
        first = data.recordings.locate(int(data.valid[0]))
        raise ValueError(
            f"No label of the validation set is in the training data ({first}): use one with known labels."
        )
    unseen = {data.labels[i]: i for i in reversed(data.valid.tolist()) if data.labels[i] not in names}
    for label, index in unseen.items():
        text = "The label %r is not in the training data: it counts as an error in metrics, but not in `loss`: %s"
        logger.warning(text, label, data.recordings.locate(index))


def read_labeled_recordings(
    config: RecordingLabelsConfig, cache: Path, on_progress: PreparationProgress | None
) -> LabeledRecordings:
    """Read the recordings, from the cache if it has them, and split them.

    Raises:
        FileNotFoundError, ValueError: the errors of `read_recordings` and `split_recordings`.
    """
    recordings, hashes = read_recordings(config, cache, on_progress)
    labels = [None if example.text is None else example.text.strip() or None for example in recordings.examples]
    splits = split_recordings(config, recordings, labels, by_text=False)
    test = [replace(entry, content=None) for spec in config.test for entry in config.manifest(spec).entries()]
    report = RecordingsReport.from_splits(recordings, splits, labels, by_text=False, test=test)
    notes = recordings.reading_notes()
    notes.update(splits.reading_notes(recordings))
    return LabeledRecordings(recordings, splits, [label or "" for label in labels], report, hashes, notes)


def recording_steps(data: LabeledRecordings, config: Config, codecs: Codecs) -> RecordingSteps[ValueBatch]:
    """Return the sampler that makes batches of recordings and labels."""
    codec, target = codecs
    label_ids = {label: number for number, label in enumerate(target.values)}
    targets = np.array([label_ids.get(label, IGNORE) for label in data.labels], np.int64)

    def collate(frames: Sequence[Tensor], indices: Indices, epoch: int) -> ValueBatch:
        return collate_values([frame.numpy() for frame in frames], targets[indices], indices.tolist())

    return RecordingSteps(data.recordings, codec, _data_config(config), config.seed, collate)
