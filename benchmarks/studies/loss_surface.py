"""Tasks of the studies of the loss surface, trained without regularization to a common training loss.

Two perceptrons that are so small that all eigenvalues can be computed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.studies.study import Line, Study, smooth_losses, train_and_read_metrics
from seqlab.diagnosis.workbench import Learner, open_run
from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.objectives import SoftmaxConfig
from seqlab.optim import ConstantScheduleConfig, OptimConfig, OptimizerConfig, SgdConfig
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder

HIDDEN_SIZE = 16
"""Hidden units of the perceptron."""
FIRST_STEPS, STEP_GROWTH = 40, 1.15
"""Steps after which the training loss is compared with the goal, and the growth to the next comparison."""
T_QUANTILES = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}
"""97.5% quantiles of Student's t distribution for means of this number of values."""


@dataclass(frozen=True, order=True)
class Condition:
    """Batch size and learning rate of a training."""

    batch_size: int
    lr: float

    @property
    def label(self) -> str:
        """Name for tables and figures."""
        return f"{self.batch_size:,}, lr {self.lr:g}"


@dataclass(frozen=True)
class SurfaceTask:
    """A model and data with the conditions under which it is trained."""

    name: str
    config_of: Callable[[Path, Condition, int], Config]
    """Config of a run folder, a condition and a seed."""
    small: Condition
    large: Condition
    """Smallest and largest batch at the same learning rate."""
    others: tuple[Condition, ...]
    goal: float
    """Training loss at which the training ends."""
    seeds: tuple[int, ...]
    rows: int
    """Training rows of the surface."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions by batch size."""
        return tuple(sorted((self.small, self.large, *self.others)))


def digits(run_dir: Path, condition: Condition, seed: int) -> Config:
    """Return a perceptron for the digits, trained by SGD without momentum."""
    config = RECIPES["digits_mlp"](run_dir)
    data: Any = replace(config.data, batch_rows=condition.batch_size)  # type: ignore[call-arg]
    model: Any = EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(HIDDEN_SIZE,)))
    optim = _at_constant_rate(SgdConfig(lr=condition.lr, momentum=0.0))
    return replace(config, data=data, model=model, objective=SoftmaxConfig(), optim=optim, seed=seed)


def diabetes(run_dir: Path, condition: Condition, seed: int) -> Config:
    """Return a perceptron for the table of diabetes, trained by SGD without momentum."""
    config = RECIPES["diabetes"](run_dir)
    data: Any = replace(config.data, batch_rows=condition.batch_size)  # type: ignore[call-arg]
    model = EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(HIDDEN_SIZE,)))
    optim = _at_constant_rate(SgdConfig(lr=condition.lr, momentum=0.0))
    return replace(config, data=data, model=model, optim=optim, seed=seed)


def _at_constant_rate(optimizer: OptimizerConfig) -> OptimConfig:
    return OptimConfig(optimizer=optimizer, schedule=ConstantScheduleConfig(warmup_steps=5))


TASKS = (
    SurfaceTask(
        name="digits",
        config_of=digits,
        small=Condition(16, 0.1),
        large=Condition(1617, 0.1),
        others=(Condition(16, 0.02), Condition(128, 0.1), Condition(1617, 0.5)),
        goal=0.05,
        seeds=(1, 2, 3, 4, 5),
        rows=512,
    ),
    SurfaceTask(
        name="diabetes",
        config_of=diabetes,
        small=Condition(8, 0.05),
        large=Condition(400, 0.05),
        others=(Condition(400, 0.2),),
        goal=0.45,
        seeds=(1, 2, 3, 4, 5),
        rows=198,
    ),
)


@dataclass(frozen=True)
class TaskStudy:
    """A study of one task."""

    task: SurfaceTask
    function: Callable[[SurfaceTask, Path, bool], Study]

    def run(self, folder: Path, quick: bool) -> Study:
        """Run the study in a folder."""
        return self.function(smallest(self.task) if quick else self.task, folder, quick)


def smallest(task: SurfaceTask) -> SurfaceTask:
    """Return a task for smoke tests: two conditions, two seeds, few steps and rows."""
    return replace(task, others=(), seeds=task.seeds[:2], goal=math.inf, rows=32)


def train_to_goal(task: SurfaceTask, folder: Path, condition: Condition, seed: int) -> tuple[Path, int]:
    """Train until the mean loss of the last updates is below the goal, unless done; return the run and its steps.

    The loss is averaged over 20 updates and about 1,617 rows. It is compared after 40 updates, and then
    after 15% more each time.
    """
    run_dir = folder / f"{condition.batch_size}-{condition.lr:g}-{seed}"
    window = max(20, 1617 // condition.batch_size)
    lines = list(RunFolder(run_dir).read_metrics()) if run_dir.is_dir() else []
    while not lines or smooth_losses(lines, window)[1][-1] > task.goal:
        steps = math.ceil(STEP_GROWTH * _last_step(lines)) if lines else FIRST_STEPS
        lines = train_and_read_metrics(task.config_of(run_dir, condition, seed), run_dir, max_steps=steps)
    return run_dir, _last_step(lines)


def _last_step(lines: Sequence[Line]) -> int:
    return int([line["step"] for line in lines if line["kind"] == "train"][-1])


@contextmanager
def open_learner(run_dir: Path) -> Iterator[Learner]:
    """Yield the model at the last checkpoint of a run, with its data."""
    with TemporaryDirectory() as scratch:
        bench = open_run(run_dir, Path(scratch))
        yield bench.learner(weights=bench.weights)


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Format a mean with the half width of its 95% confidence interval (Student's t), over seeds."""
    if len(values) < 2:
        return f"{values[0]:.{digits}g}"
    half = T_QUANTILES[len(values)] * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.{digits}g} ± {half:.2g}"
