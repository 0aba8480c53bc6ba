"""Prediction as a task: rows in random order, and errors of the validation set in its own units."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.base.world import OnRows, World
from seqlab.data.batch import ValueBatch, batch_of_arrays
from seqlab.data.epoch import seeded_generator
from seqlab.data.step import Position, TrainingStep, collate_rank, next_position, split_among_ranks
from seqlab.data.survey import OnProgress
from seqlab.data.table_codec import RowIndices
from seqlab.data.targets import Target
from seqlab.evaluation import evaluate
from seqlab.models.interfaces import Predictor
from seqlab.objectives import StepContext
from seqlab.runs.codecs import save_codec
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.tasks.prediction.augment import augmented, mixed
from seqlab.tasks.prediction.config import PREDICTOR, PredictionConfig
from seqlab.tasks.prediction.examples import (
    Examples,
    PreparedExamples,
    fit_codecs,
    prepare_examples,
    read_examples,
)
from seqlab.training.task import Codecs, Task
from seqlab.training.validation import RunInTraining, Validation, inference_model

logger = logging.getLogger(__name__)
VALID_ROWS = 4096
"""Examples that are validated together."""
AUGMENTATION = 1
"""The stream of random numbers that augmentation draws from."""


def _data_config(config: Config) -> PredictionConfig:
    assert isinstance(config.data, PredictionConfig)
    return config.data


class Prediction(Task):
    """Examples of numbers, with numbers, classes or labels as targets."""

    batch_type = ValueBatch
    unit = "examples"
    needs = (Predictor,)

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: OnProgress) -> dict[str, int]:
        """Measure the training part, and encode everything while it is in memory."""
        data = _data_config(config)
        raw = read_examples(data, data.train)
        codecs = fit_codecs(data, raw)
        for side, codec in zip(("src", "tgt"), codecs, strict=True):
            save_codec(codec, folder, side)
        prepare_examples(data, codecs, folder.cache, raw)
        return {}

    def prepare(self, config: Config, codecs: Codecs, cache: Path, on_progress: OnProgress | None) -> PreparedExamples:
        """Open the encoded examples."""
        config.model.check_sides(*codecs)
        data = _data_config(config)
        if (data.augment_shift or data.augment_rotation) and len(codecs[0].shape) < 3:
            raise ValueError("`data.augment_shift` and `data.augment_rotation` move images, which the inputs are not.")
        prepared = prepare_examples(data, codecs, cache)
        if prepared.report.unseen and on_progress is not None:
            logger.warning(
                "Validation examples of a class that training has not seen: %d; they count as wrong, but not in `nll`",
                prepared.report.unseen,
            )
        return prepared

    def steps(
        self, data: PreparedExamples, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[ValueBatch]]:
        """Yield the examples of each epoch in an order of its own, in steps of as equal a size as can be."""
        settings, first = _data_config(config), next_position(after)
        count = len(data.train)
        num_steps = max(1, round(count / settings.batch_rows))
        while True:
            order = seeded_generator(config.seed, first.epoch).permutation(count)
            steps = np.array_split(order, num_steps)
            for number in range(first.step, num_steps):
                micro_steps = np.array_split(steps[number], -(-len(steps[number]) // settings.micro_batch_rows))
                shares = split_among_ranks(micro_steps, np.ones(count, np.int64), world.world_size)
                rng = seeded_generator(config.seed, first.epoch, number, AUGMENTATION)
                examples = _Augmented(data.train, settings, codecs[1], steps[number], rng)
                own = collate_rank(shares, world.rank, examples.batch)
                position = Position(first.epoch, 0, number)
                yield TrainingStep(position, first.epoch + (number + 1) / num_steps, own)
            first = Position(first.epoch + 1, 0, 0)

    def count(self, run: RunInTraining) -> Iterator[str]:
        """Fit a model that is counted to the training examples."""
        train = run.data.train

        def examples() -> Iterator[tuple[Tensor, Tensor]]:
            for part in _parts(train):
                inputs, targets = torch.from_numpy(train.read(part)), torch.from_numpy(train.read_targets(part))
                yield inputs, targets if targets.dim() == 1 else targets.argmax(1)  # of probabilities the likeliest

        run.model.fit(examples())
        yield f"examples: {len(train):,}"

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Measure loss and errors on the validation set."""
        model, valid = inference_model(run, weights), run.data.valid
        parts = _parts(valid)
        objective = run.config.objective.build()

        @torch.inference_mode()
        def score(own: list[int], on_rows: OnRows | None) -> list[tuple[Any, float, float]]:
            found = []
            for number in own:
                batch = batch_of(valid, parts[number]).to(run.machine.device)
                loss = objective(model, batch, StepContext(0))
                scores = model(batch).float().cpu().numpy()
                found.append((scores, float(loss.total), float(loss.count)))
            return found

        found = run.machine.world.map_rows([len(part) for part in parts], score)
        scores = np.concatenate([each[0] for each in found])
        nll = sum(each[1] for each in found) / max(1.0, sum(each[2] for each in found))
        target = run.codecs[1]
        metrics = [name for name in _data_config(run.config).valid_metrics() if name != "nll"]
        right = valid.read_targets(np.arange(len(valid)))
        said = target.metric_lines(target.decide(scores))
        figures = evaluate(said, [target.metric_lines(right)], metrics)
        return Validation(figures, nll, "loss", target.fit_decisions(scores, right))

    def answers(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield the prediction and the target of each validation example, and its location."""
        run = load_run(run_dir, product=PREDICTOR)
        data = prepare_examples(_data_config(run.config), run.codecs, run.folder.cache)
        target, numbers = run.codecs[1], np.arange(len(data.valid))
        with torch.inference_mode():
            scores = [run.model(batch_of(data.valid, part)).numpy() for part in _parts(data.valid)]
        said = target.lines(target.decide(np.concatenate(scores)))
        right = target.lines(data.valid.read_targets(numbers))
        for row, prediction, expected in zip(data.valid.rows.tolist(), said, right, strict=True):
            yield {"example": data.locate(row), "prediction": prediction, "target": expected}

    def locate(self, data: PreparedExamples, index: int) -> str:
        """Name the file and the line of an example, by its row."""
        return data.locate(index)


def _parts(examples: Examples) -> list[RowIndices]:
    """Divide examples into those that are computed together."""
    count = len(examples)
    return [np.arange(start, min(start + VALID_ROWS, count)) for start in range(0, count, VALID_ROWS)]


def batch_of(examples: Examples, numbers: RowIndices) -> ValueBatch:
    """Make a batch of some examples."""
    inputs = np.ascontiguousarray(examples.read(numbers))
    return batch_of_arrays(inputs, examples.read_targets(numbers), examples.rows[numbers])


class _Augmented:
    """The examples of one step, changed at random by numbers that no division among ranks changes."""

    def __init__(
        self, examples: Examples, config: PredictionConfig, target: Target, step: RowIndices, rng: np.random.Generator
    ) -> None:
        self.examples, self.config, self.target, self.step, self.rng = examples, config, target, step, rng
        self._changed: tuple[NDArray[np.float32], NDArray[Any]] | None = None

    def batch(self, numbers: RowIndices) -> ValueBatch:
        """Make a batch of some of the examples."""
        if not self.config.augments:
            return batch_of(self.examples, numbers)
        if self._changed is None:
            self._changed = self._change()
        places = {number: place for place, number in enumerate(self.step.tolist())}
        own = [places[number] for number in numbers.tolist()]
        inputs, targets = (each[own] for each in self._changed)
        return batch_of_arrays(inputs, targets, self.examples.rows[numbers])

    def _change(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Change all examples of the step."""
        inputs = augmented(self.examples.read(self.step), self.config, self.rng)
        targets = self.examples.read_targets(self.step)
        if not self.config.augment_mixup:
            return inputs, targets
        if targets.ndim == 1:  # numbers of classes
            targets = np.eye(self.target.size, dtype=np.float32)[targets]
        return mixed(inputs, targets, self.config.augment_mixup, self.rng)
