"""Labels of recordings as a task: recordings in batches of similar length, validated by accuracy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqlab.audio.codec import fit_recording_codec
from seqlab.base.world import OnRows, World
from seqlab.data.batch import ValueBatch, collate_values
from seqlab.data.recording_splits import Indices, RecordingSplits, RecordingsReport, split_recordings
from seqlab.data.recording_steps import RecordingSteps
from seqlab.data.recordings import Recordings, read_recordings
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import OnProgress
from seqlab.data.targets import UNSEEN_CLASS, ClassTarget
from seqlab.evaluation import evaluate
from seqlab.models.interfaces import Predictor
from seqlab.objectives import StepContext
from seqlab.runs.codecs import load_codecs, save_codec
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.tasks.recording_labels.labeller import load_recording_labeller
from seqlab.training.task import Codecs, Task
from seqlab.training.validation import RunInTraining, Validation, inference_model


def _data_config(config: Config) -> RecordingLabelsConfig:
    assert isinstance(config.data, RecordingLabelsConfig)
    return config.data


@dataclass(frozen=True)
class PreparedLabels:
    """Recordings of all parts, and their labels."""

    recordings: Recordings
    splits: RecordingSplits
    labels: list[str]
    report: RecordingsReport
    content_hashes: dict[str, str]

    @property
    def train(self) -> Indices:
        """The recordings that are trained on."""
        return self.splits.train

    @property
    def valid(self) -> Indices:
        """The recordings that are validated on."""
        return self.splits.valid


class RecordingLabels(Task):
    """Recordings with one label each."""

    batch_type = ValueBatch
    unit = "recordings"
    needs = (Predictor,)

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: OnProgress) -> dict[str, int]:
        """Measure the features, and list the labels, of the training part."""
        data = _data_config(config)
        found = read_labels(data, folder.cache, on_progress)
        codec = fit_recording_codec(data, [found.recordings.waveform(i) for i in found.train.tolist()])
        save_codec(codec, folder, "src")
        return {}

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: OnProgress) -> None:
        """List the labels of the training part, unless the whole model of another run is taken over.

        Raises:
            ValueError: they are fewer than two, or that model does not have one of them.
        """
        data = _data_config(config)
        found = read_labels(data, folder.cache, on_progress)
        labels = sorted({found.labels[i] for i in found.train.tolist()})
        if config.init_from is not None and config.init_parts == "all":
            known = load_codecs(RunFolder(Path(config.init_from)))[1].values
            if new := [label for label in labels if label not in known]:
                raise ValueError(
                    f"The training data have the label {new[0]!r}, which the model of {config.init_from} does not have "
                    f"({', '.join(known)}): learn the labels anew with `init_parts: matching`."
                )
            return
        if len(labels) < 2:
            raise ValueError(
                f"The label ({data.text_column!r}) is {''.join(labels)!r} in all training recordings: is it the right "
                "column (`data.text_column`)?"
            )
        save_codec(ClassTarget(data.text_column, labels), folder, "tgt")

    def prepare(self, config: Config, codecs: Codecs, cache: Path, on_progress: OnProgress | None) -> PreparedLabels:
        """Open the recordings."""
        config.model.check_sides(*codecs)
        return read_labels(_data_config(config), cache, on_progress)

    def steps(
        self, data: PreparedLabels, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[ValueBatch]]:
        """Yield recordings of similar length, changed at random."""
        return recording_steps(data, config, codecs).steps(data.train, world.rank, world.world_size, after)

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Measure loss and accuracy on the validation part."""
        model, data, target = inference_model(run, weights), run.data, run.codecs[1]
        batches = list(recording_steps(data, run.config, run.codecs).batches(data.valid))
        objective = run.config.objective.build()

        @torch.inference_mode()
        def score(own: list[int], on_rows: OnRows | None) -> list[tuple[list[tuple[int, int]], float, float]]:
            found = []
            for number in own:
                rows, batch = batches[number]
                batch = batch.to(run.machine.device)
                loss = objective(model, batch, StepContext(0))
                best = model(batch).float().argmax(1).tolist()
                found.append((list(zip(rows.tolist(), best, strict=True)), float(loss.total), float(loss.count)))
            return found

        spread = run.machine.world.map_rows([len(rows) for rows, _ in batches], score)
        best = np.array([label for _, label in sorted(each for own, _, _ in spread for each in own)])
        nll = sum(each[1] for each in spread) / max(1.0, sum(each[2] for each in spread))
        known = {label: number for number, label in enumerate(target.values)}
        right = [str(known.get(data.labels[i], UNSEEN_CLASS)) for i in data.valid]
        asked = dict.fromkeys(["accuracy", "macro_f1", str(run.config.training.valid_metric)])
        metrics = [name for name in asked if name != "nll"]
        return Validation(evaluate(list(map(str, best.tolist())), [right], metrics), nll, "loss")

    def answers(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield the label of each recording of the held-out fold, or of the validation part."""
        config = read_config(RunFolder(run_dir))
        data = read_labels(_data_config(config), RunFolder(run_dir).cache, None)
        part = data.splits.test if len(data.splits.test) else data.valid
        labeller = load_recording_labeller(run_dir, device=config.training.device)
        found = labeller.label_waveforms([data.recordings.waveform(i) for i in part])
        for index, each in zip(part.tolist(), found, strict=True):
            yield data.recordings.examples[index].prediction_record(each.label, data.labels[index])

    def fold_scores(self, answers: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Measure the labels of the held-out fold."""
        labels, right = ([_one_word(each[name]) for each in answers] for name in ("prediction", "target"))
        return {name: score.value for name, score in evaluate(labels, [right], ["accuracy", "macro_f1"]).items()}

    def locate(self, data: PreparedLabels, index: int) -> str:
        """Name the line of a list that a recording is on, and its file."""
        return data.recordings.locate(index)


def _one_word(label: str) -> str:
    """Write a label, which may have spaces, as the one word that metrics compare."""
    return "_".join(label.split()) or UNSEEN_CLASS


def read_labels(config: RecordingLabelsConfig, cache: Path, on_progress: OnProgress | None) -> PreparedLabels:
    """Decode recordings, or open what was decoded before, and divide them.

    Raises:
        FileNotFoundError, ValueError: as of `read_recordings` and `split_recordings`.
    """
    recordings, hashes = read_recordings(config, cache, on_progress)
    labels = [None if each.text is None else each.text.strip() or None for each in recordings.examples]
    splits = split_recordings(config, recordings, labels, by_text=False)
    test = [replace(each, content=None) for spec in config.test for each in config.manifest(spec).entries()]
    report = RecordingsReport.from_splits(recordings, splits, labels, by_text=False, test=test)
    return PreparedLabels(recordings, splits, [label or "" for label in labels], report, hashes)


def recording_steps(data: PreparedLabels, config: Config, codecs: Codecs) -> RecordingSteps[ValueBatch]:
    """Return what makes batches of recordings and labels."""
    codec, target = codecs
    table = {label: number for number, label in enumerate(target.values)}
    numbers = np.array([table.get(label, -100) for label in data.labels], np.int64)

    def collate(frames: Sequence[Tensor], part: Indices, epoch: int) -> ValueBatch:
        return collate_values([each.numpy() for each in frames], numbers[part], part.tolist())

    return RecordingSteps(data.recordings, codec, _data_config(config), config.seed, collate)
