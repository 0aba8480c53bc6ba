"""Set up a run for experiments in memory: its data, samples of its rows, its weights, and short trainings.

Nothing is written into the folder of the run: its cache is linked into a temporary folder.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.base.world import SINGLE_PROCESS
from seqlab.data.batch import DivisibleBatch
from seqlab.data.input_hashes import hash_inputs
from seqlab.data.survey import no_progress
from seqlab.diagnosis.changes import without_smoothing
from seqlab.diagnosis.finding import LeftOut
from seqlab.objectives import Loss, ModelFactory, StepContext, TextSide
from seqlab.objectives.loss import CollectingObjective
from seqlab.optim import Parameters
from seqlab.optim.muon import hidden_matrices
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import copy_weights, load_run, named_buffers, named_weights
from seqlab.training.accumulator import Accumulator, seeded
from seqlab.training.device_context import DeviceContext, set_up
from seqlab.training.resume import check_content
from seqlab.training.task import Split
from seqlab.training.train import initialize_weights
from seqlab.training.update import Update, update
from seqlab.training.vector_initialization import vector_columns

MAX_ROWS = 20_000
"""Maximum number of rows of a split: of a larger one, blocks of neighboring rows are used."""
NUM_BLOCKS = 200
NUM_FIRST_STEPS = 50
GROUP_ROWS = 16
"""Rows of a group of a sample, whose mean losses give the standard error."""
MIN_GROUPS = 10
"""Number of groups below which they are smaller."""
WARMUP_SHARE = 0.1
"""Share of a short training in which the learning rate grows; then it falls to 0."""


@dataclass(frozen=True)
class Losses:
    """Losses of groups of rows: sums (G,) and the numbers of units (G,) that they are summed over."""

    totals: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Mean loss per unit."""
        return float(self.totals.sum() / max(1.0, self.counts.sum()))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over groups (ratio estimator)."""
        groups = len(self.totals)
        if groups < 2 or not self.counts.sum():
            return float("nan")
        residuals = self.totals - self.mean * self.counts
        return float(np.sqrt((residuals**2).sum() * groups / (groups - 1)) / self.counts.sum())


@dataclass
class Workbench:
    """A trained run with its data, for experiments that change one thing, train a little, and measure."""

    folder: RunFolder
    config: Config
    codecs: tuple[Any, Any]
    data: Any
    """The result of `Task.prepare`."""
    device_context: DeviceContext
    weights: Mapping[str, Tensor]
    """Weights and buffers of the last checkpoint."""
    step: int
    """Step of the last checkpoint."""

    @cached_property
    def task(self) -> Any:
        """The task of the run."""
        return self.config.data.task

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl."""
        return list(self.folder.read_metrics())

    @cached_property
    def first_step(self) -> Sequence[DivisibleBatch]:
        """Batches of the first training step."""
        micro_steps: Sequence[DivisibleBatch] = next(
            self.task.steps(self.data, self.config, self.codecs, SINGLE_PROCESS, None)
        ).micro_steps
        return micro_steps

    @cached_property
    def train_rows(self) -> list[DivisibleBatch]:
        """Batches of the training rows without augmentation; of a large split, of blocks of neighboring rows.

        A task without `Task.split_batches` gives batches of its first steps.
        """
        batches = self._split("train")
        if not batches:
            steps = self.task.steps(self.data, self.config, self.codecs, SINGLE_PROCESS, None)
            batches = [batch for step in islice(steps, NUM_FIRST_STEPS) for batch in step.micro_steps]
        if not all(isinstance(batch, DivisibleBatch) for batch in batches):
            raise LeftOut(f"a batch of type {type(batches[0]).__name__} has no method `select`")
        return batches

    @cached_property
    def valid_rows(self) -> list[DivisibleBatch]:
        """Batches of the validation rows; none for a task without `Task.split_batches`."""
        return self._split("valid")

    def _split(self, split: Split) -> list[DivisibleBatch]:
        """Return the batches of a split, without rows outside of the blocks of a large one."""
        batches = list(self.task.split_batches(self.data, self.config, self.codecs, split))
        count = sum(len(batch.indices) for batch in batches)
        if count <= MAX_ROWS:
            return batches
        order = np.sort(np.concatenate([batch.indices.numpy() for batch in batches]))
        starts = np.linspace(0, count - MAX_ROWS // NUM_BLOCKS, NUM_BLOCKS).astype(int)
        kept = np.unique(np.concatenate([order[start : start + MAX_ROWS // NUM_BLOCKS] for start in starts]))
        selected = (batch.select(torch.from_numpy(np.isin(batch.indices.numpy(), kept))) for batch in batches)
        return [batch for batch in selected if len(batch.indices)]

    @property
    def context(self) -> StepContext:
        """Return what the objective may use, with fixed random numbers."""
        src, tgt = self.codecs
        return StepContext(self.step, seed=self.config.seed, sides=(TextSide(src), TextSide(tgt)))

    def refuse_count_based(self) -> None:
        """Raise LeftOut for a model without gradients."""
        if self.config.model.is_count_based:
            raise LeftOut("the model is estimated by counting")

    def learner(self, config: Config | None = None, weights: Mapping[str, Tensor] | None = None) -> "Learner":
        """Build the model, objective and optimizer of a config (default: of the run).

        The weights are those given, or those at the start of a training.
        """
        return Learner(self, config or self.config, weights)


class Learner:
    """A model with its objective and optimizer, trained in memory."""

    def __init__(self, bench: Workbench, config: Config, weights: Mapping[str, Tensor] | None) -> None:
        self.bench, self.config = bench, config
        with torch.random.fork_rng(devices=[]), _without_messages():
            torch.manual_seed(config.seed)
            model_config = config.model.resolve(config.data)
            self.model = model_config.build(*bench.codecs)
            frozen, _ = initialize_weights(self.model, config, bench.codecs, bench.data, is_new=weights is None)
            if weights is not None:
                copy_weights(self.model, weights, bench.folder.path)
            factory = ModelFactory(model_config, *bench.codecs)
            self.objective = config.objective.build_for(self.model, factory)
            # Losses are compared between configs, so that label smoothing must not be a part of them.
            is_fixed = not isinstance(self.objective, CollectingObjective)  # others refuse unused fields
            measured = without_smoothing(config).objective if is_fixed else config.objective
            self.measured = measured.build_for(self.model, factory)
        self.accumulator = Accumulator(self.model, self.objective, bench.device_context, config.seed, frozen)
        self.optimizer = config.optim.optimizer.build(
            Parameters(self.accumulator.parameters, self.accumulator.partly_frozen, hidden_matrices(self.model))
        )
        self.num_updates = 0
        self.zero_gradients()

    def zero_gradients(self) -> None:
        """Set the gradients to 0."""
        for parameter in self.accumulator.parameters:
            parameter.grad = torch.zeros_like(parameter)

    def state(self) -> dict[str, Tensor]:
        """Return copies of the weights and buffers of the model."""
        tensors = named_weights(self.model) | named_buffers(self.model)
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def update(self, micro_steps: Sequence[DivisibleBatch], lr: float) -> Update:
        """Run one update as in training; raise NonFiniteUpdate for a loss or gradient that is not finite."""
        self.model.train()
        optim = self.config.optim
        context = replace(self.bench.context, step=self.num_updates)
        self.num_updates += 1
        return update(
            self.accumulator,
            self.optimizer,
            micro_steps,
            context,
            lr,
            optim.max_grad_norm,
            optim.max_grad_value,
        )

    def train(
        self,
        rows: Sequence[DivisibleBatch],
        num_steps: int,
        lr_factor: float = 1.0,
        *,
        share_of_step: float = 1.0,
        seed: int = 1,
        before_update: Callable[[], None] = lambda: None,
    ) -> list[Update]:
        """Run updates on random rows; return them.

        The learning rate grows to `lr_factor` times the peak rate in the first tenth of the steps, and falls to 0.

        Args:
            rows: training rows.
            num_steps: number of updates.
            lr_factor: factor of the peak rate.
            share_of_step: targets of a step, relative to the first step of the run.
            seed: seed of the order of rows.
            before_update: function that is called before each update, and may raise an exception to stop.

        Raises:
            NonFiniteUpdate: a loss or gradient is not finite.
        """
        lr, warmup = lr_factor * self.config.optim.optimizer.lr, WARMUP_SHARE * num_steps
        size = max(1, round(share_of_step * sum(batch.num_targets for batch in self.bench.first_step)))
        updates = []
        for number, step in enumerate(islice(random_steps(rows, size, seed), num_steps)):
            before_update()
            remaining = (num_steps - number) / (num_steps - warmup)
            updates.append(self.update(step, lr * min(1.0, (number + 1) / max(1.0, warmup), remaining)))
        return updates

    def training_loss(self, batch: DivisibleBatch) -> Loss:
        """Compute the loss that is trained, but in evaluation mode, with gradients and fixed random numbers."""
        self.model.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return self.objective(self.model, batch.to(self.bench.device_context.device), self.bench.context)

    @torch.no_grad()
    def losses(self, rows: Sequence[DivisibleBatch]) -> Losses:
        """Compute the loss of each batch in evaluation mode, without label smoothing.

        The random numbers are the same in each call.
        """
        losses = [self.loss(batch) for batch in rows]
        totals, counts = [float(loss.total) for loss in losses], [float(loss.count) for loss in losses]
        return Losses(np.array(totals, np.float64), np.array(counts, np.float64))

    @torch.no_grad()
    def loss(self, batch: DivisibleBatch) -> Loss:
        """Compute the loss of a batch as `losses` does."""
        self.model.eval()
        device = self.bench.device_context.device
        with seeded(self.config.seed, device) as generator, self.bench.device_context.autocast():
            context = replace(self.bench.context, generator=generator)
            return self.measured(self.model, batch.to(device), context)


@contextmanager
def _without_messages() -> Iterator[None]:
    """Do not log how weights are initialized, which the log of the run has, for each short training."""
    training_logger = logging.getLogger("seqlab.training")
    level = training_logger.level
    training_logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        training_logger.setLevel(level)


def sample_rows(rows: Sequence[DivisibleBatch], count: int, seed: int = 1) -> list[DivisibleBatch]:
    """Select about `count` random rows, at most all, in groups of rows of one batch, which have similar lengths."""
    rng = np.random.default_rng(seed)
    size = max(1, min(GROUP_ROWS, sum(len(batch.indices) for batch in rows) // MIN_GROUPS))
    groups = [
        (batch, numbers)
        for batch in rows
        for numbers in torch.from_numpy(rng.permutation(len(batch.indices))).split(size)
    ]
    order = rng.permutation(len(groups))
    num_groups = int(np.searchsorted(np.cumsum([len(groups[i][1]) for i in order]), count)) + 1
    return [groups[i][0].select(groups[i][1]) for i in order[:num_groups]]


def longest_rows(rows: Sequence[DivisibleBatch], count: int) -> Any:
    """Return a batch of at most `count` rows of similar, large length."""
    longest = max(rows, key=lambda batch: batch.num_targets / len(batch.indices))
    return longest.select(torch.arange(min(count, len(longest.indices))))


def select_rows(rows: Sequence[DivisibleBatch], mask: NDArray[np.bool_]) -> list[DivisibleBatch]:
    """Select the rows of batches by a mask over all rows in their order."""
    ends = np.cumsum([len(batch.indices) for batch in rows])
    parts = np.split(mask, ends[:-1])
    selected = (batch.select(torch.from_numpy(part)) for batch, part in zip(rows, parts, strict=True) if part.any())
    return list(selected)


def random_steps(rows: Sequence[DivisibleBatch], num_targets: int, seed: int) -> Iterator[list[DivisibleBatch]]:
    """Yield micro-steps with about `num_targets` targets for each step, endlessly, from batches of similar length."""
    rng = np.random.default_rng(seed)
    step: list[DivisibleBatch] = []
    count = 0
    while True:
        for piece in _random_pieces(rows, num_targets, rng):
            step.append(piece)
            count += piece.num_targets
            if count >= num_targets:
                yield step
                step, count = [], 0


def _random_pieces(rows: Sequence[DivisibleBatch], num_targets: int, rng: np.random.Generator) -> list[DivisibleBatch]:
    """Divide the shuffled rows of each batch into batches of at most about `num_targets` targets, in random order."""
    pieces: list[DivisibleBatch] = []
    for batch in rows:
        order = torch.from_numpy(rng.permutation(len(batch.indices)))
        targets_per_row = max(1.0, batch.num_targets / len(batch.indices))
        pieces += [batch.select(part) for part in order.split(max(1, int(num_targets / targets_per_row)))]
    return [pieces[number] for number in rng.permutation(len(pieces))]


def open_run(path: str | Path, scratch: Path) -> Workbench:
    """Set up a run for experiments; its cache is linked into the folder `scratch`.

    Raises:
        FileNotFoundError: the run or one of its data files does not exist.
        ValueError: the folder is not a run, or its data has changed since it was trained.
    """
    folder = RunFolder(path)
    folder.refuse_missing()
    description = folder.read_description()
    loaded = load_run(path, checkpoint="last")
    cache = scratch / "cache"
    if folder.cache.is_dir():
        shutil.copytree(folder.cache, cache, copy_function=_link)
    try:
        hashes = hash_inputs([*loaded.config.data.input_specs(), *vector_columns(loaded.config)], cache)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} A path in {folder.config_file} that is not absolute starts in the folder of its training."
        ) from None
    check_content(folder, hashes, alternatives="")
    config, codecs = loaded.config, load_codecs_for(folder, loaded.config.data)
    data = config.data.task.prepare(config, codecs, cache, no_progress)
    weights = named_weights(loaded.model) | named_buffers(loaded.model)
    return Workbench(folder, config, codecs, data, set_up(config.training, before=description), weights, loaded.step)


def _link(source: str, target: str) -> None:
    """Link a file of the cache, whose files are replaced and never changed; copy it on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
