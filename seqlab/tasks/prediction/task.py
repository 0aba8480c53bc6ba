"""Prediction task: train on random batches of examples, validate by loss and by metrics in the units of the data."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqlab.base.world import ProgressCallback, World
from seqlab.data.batch import ValueBatch
from seqlab.data.epoch import seeded_generator
from seqlab.data.images import SERIOUS_NOTES
from seqlab.data.step import Position, TrainingStep, collate_rank, next_position, split_among_ranks
from seqlab.data.survey import PreparationProgress
from seqlab.data.table_codec import RowIndices
from seqlab.evaluation import evaluate
from seqlab.objectives import StepContext
from seqlab.objectives.prediction_losses import Predictor
from seqlab.runs.codecs import save_codec
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.tasks.prediction.augment import AugmentedStep
from seqlab.tasks.prediction.config import PREDICTOR, PredictionConfig, Predicts
from seqlab.tasks.prediction.examples import (
    EncodedExamples,
    PreparedExamples,
    fit_codecs,
    prepare_examples,
    read_examples,
)
from seqlab.training.task import Codecs, OutputKind, Split, Task, rows_of
from seqlab.training.validation import RunInTraining, Validation, inference_model

logger = logging.getLogger(__name__)
VALID_BATCH_ROWS = 4096
"""Examples per validation batch."""
EXAMPLE_AUGMENTATION_STREAM = 1
"""Seed component of the random numbers for the augmentation of a step."""
KINDS_OF_OUTPUT: dict[Predicts, OutputKind] = {"numbers": "numbers", "class": "label", "labels": "set of labels"}


def _data_config(config: Config) -> PredictionConfig:
    assert isinstance(config.data, PredictionConfig)
    return config.data


class PredictionTask(Task):
    """Regression, classification and multi-label classification of vectors, images and time series."""

    batch_type = ValueBatch
    unit = "examples"
    needs = (Predictor,)

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Fit and save the codecs, and encode the examples while they are in memory."""
        data = _data_config(config)
        raw = read_examples(data, data.train)
        codecs = fit_codecs(data, raw)
        for side, codec in zip(("src", "tgt"), codecs, strict=True):
            save_codec(codec, folder, side)
        prepare_examples(data, codecs, folder.cache, raw)
        return {}

    def prepare(
        self, config: Config, codecs: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> PreparedExamples:
        """Open the encoded examples."""
        config.model.check_sides(*codecs)
        data = _data_config(config)
        if (data.augment_shift or data.augment_rotation) and len(codecs[0].shape) < 3:
            raise ValueError(
                "`data.augment_shift` and `data.augment_rotation` need images, but the inputs are not images."
            )
        prepared = prepare_examples(data, codecs, cache)
        for note in prepared.reading:
            if note.text.startswith(SERIOUS_NOTES) and on_progress is not None:
                logger.warning("%s", note)
        if prepared.report.unseen == len(prepared.valid):
            first = prepared.locate(int(prepared.valid.rows[0]))
            raise ValueError(
                f"No class of the validation set is in the training data ({first}): use one with known classes."
            )
        if prepared.report.unseen and on_progress is not None:
            logger.warning(
                "%d validation examples have a class that is not in the training data: metrics count them as wrong, "
                "`nll` ignores them",
                prepared.report.unseen,
            )
        return prepared

    def steps(
        self, data: PreparedExamples, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[ValueBatch]]:
        """Yield the training steps of this rank, of nearly equal size; each epoch has another random order."""
        settings, start = _data_config(config), next_position(after)
        count = len(data.train)
        num_steps = max(1, round(count / settings.batch_rows))
        while True:
            order = seeded_generator(config.seed, start.epoch).permutation(count)
            steps = np.array_split(order, num_steps)
            for number in range(start.step, num_steps):
                micro_steps = np.array_split(steps[number], -(-len(steps[number]) // settings.micro_batch_rows))
                shares = split_among_ranks(micro_steps, np.ones(count, np.int64), world.world_size)
                rng = seeded_generator(config.seed, start.epoch, number, EXAMPLE_AUGMENTATION_STREAM)
                examples = AugmentedStep(data.train, settings, codecs[1], steps[number], rng)
                batches = collate_rank(shares, world.rank, examples.batch)
                position = Position(start.epoch, 0, number)
                yield TrainingStep(position, start.epoch + (number + 1) / num_steps, batches)
            start = Position(start.epoch + 1, 0, 0)

    def split_batches(
        self, data: PreparedExamples, config: Config, codecs: Codecs, split: Split
    ) -> Iterator[ValueBatch]:
        """Yield each example of a split once, in order."""
        examples = rows_of(data, split)
        return (examples.batch(indices) for indices in _index_batches(examples))

    def count(self, run: RunInTraining) -> Iterator[str]:
        """Fit a count-based model to the training examples."""
        train = run.data.train

        def examples() -> Iterator[tuple[Tensor, Tensor]]:
            for indices in _index_batches(train):
                inputs, targets = torch.from_numpy(train.read(indices)), torch.from_numpy(train.read_targets(indices))
                yield inputs, targets if targets.dim() == 1 else targets.argmax(1)  # probabilities -> class ids

        run.model.fit(examples())
        yield f"examples: {len(train):,}"

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Compute the loss and the metrics on the validation set."""
        model, valid = inference_model(run, weights), run.data.valid
        index_batches = _index_batches(valid)
        objective = run.config.objective.build()

        @torch.inference_mode()
        def compute(numbers: list[int], on_rows: ProgressCallback | None) -> list[tuple[Any, float, float]]:
            outcomes = []
            for number in numbers:
                batch = valid.batch(index_batches[number]).to(run.device_context.device)
                loss = objective(model, batch, StepContext(0))
                outputs = model(batch).float().cpu().numpy()
                outcomes.append((outputs, float(loss.total), float(loss.count)))
            return outcomes

        computed = run.device_context.world.map_rows([len(index_batch) for index_batch in index_batches], compute)
        outputs = np.concatenate([result[0] for result in computed])
        nll = sum(result[1] for result in computed) / max(1.0, sum(result[2] for result in computed))
        target = run.codecs[1]
        metrics = [name for name in _data_config(run.config).valid_metrics() if name != "nll"]
        references = valid.read_references(np.arange(len(valid)))
        predictions = target.metric_lines(target.decide(outputs))
        results = evaluate(predictions, [target.metric_lines(references)], metrics)
        return Validation(results, nll, "loss", target.fit_decisions(outputs, references))

    def constant_scores(self, run: RunInTraining) -> dict[str, float] | None:
        """Return R2 of the mean, or the accuracy of the most frequent class; None for labels."""
        if _data_config(run.config).predicts == "numbers":
            return {"r2": 0.0}
        if _data_config(run.config).predicts == "labels":
            return None
        train, valid, target = run.data.train, run.data.valid, run.codecs[1]
        classes = target.metric_lines(train.read_references(np.arange(len(train))))
        [(most_frequent, _)] = Counter(classes).most_common(1)
        references = target.metric_lines(valid.read_references(np.arange(len(valid))))
        return {"accuracy": 100 * references.count(most_frequent) / len(references)}

    def validation_predictions(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield the prediction, the target and the location of each validation example."""
        yield from _predictions(run_dir, "best")

    def sample_outputs(self, run_dir: Path, checkpoint: str, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the predictions for some validation examples."""
        records = list(_predictions(run_dir, checkpoint))
        yield from (records[row] for row in rows)

    def output_kind(self, config: Config) -> OutputKind:
        """Return what the target holds."""
        return KINDS_OF_OUTPUT[_data_config(config).predicts]

    def locate(self, data: PreparedExamples, index: int) -> str:
        """Return the location (file and line) of an example, given its row."""
        return data.locate(index)


def _predictions(run_dir: Path, checkpoint: str) -> Iterator[dict[str, Any]]:
    """Yield the prediction of a checkpoint, the target and the location of each validation example."""
    run = load_run(run_dir, checkpoint, model_noun=PREDICTOR)
    data = prepare_examples(_data_config(run.config), run.codecs, run.folder.cache)
    target, indices = run.codecs[1], np.arange(len(data.valid))
    with torch.inference_mode():
        outputs = [run.model(data.valid.batch(index_batch)).numpy() for index_batch in _index_batches(data.valid)]
    predictions = target.lines(target.decide(np.concatenate(outputs)))
    references = target.lines(data.valid.read_references(indices))
    for row, prediction, reference in zip(data.valid.rows.tolist(), predictions, references, strict=True):
        yield {"example": data.locate(row), "prediction": prediction, "target": reference}


def _index_batches(examples: EncodedExamples) -> list[RowIndices]:
    """Divide the indices of examples into validation batches."""
    count = len(examples)
    return [np.arange(start, min(start + VALID_BATCH_ROWS, count)) for start in range(0, count, VALID_BATCH_ROWS)]
