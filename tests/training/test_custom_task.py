"""Custom task without text: linear regression from vectors to a number, with its own codec and batches of floats."""

import json
from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from reference.tiny_runs import assert_equal_runs, comparable_metrics
from torch import Tensor, nn

import seqlab
from seqlab import registry
from seqlab.data import DataConfig, ValueBatch, collate_values
from seqlab.data.config import SETTINGS, PathSpecs
from seqlab.data.epoch import seeded_generator
from seqlab.data.input_hashes import hash_inputs
from seqlab.data.step import Position, TrainingStep, collate_rank, next_position, split_among_ranks
from seqlab.models import ModelConfig
from seqlab.objectives import Loss, ObjectiveConfig
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig
from seqlab.runs.codecs import save_codec
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.training.task import Task
from seqlab.training.validation import RunInTraining, Validation, inference_model

WEIGHTS = np.array([1.5, -2.0, 0.5])


@plain_dataclass(frozen=True)
class StandardizedVectors:
    """Codec that scales vectors to mean 0 and standard deviation 1."""

    codec: ClassVar[str] = "standardized"
    mean: list[float]
    std: list[float]

    def encode(self, vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (vectors - self.mean) / self.std

    def save(self, folder: Path) -> None:
        (folder / "moments.json").write_text(json.dumps([self.mean, self.std]))


def load_standardized(folder: Path) -> StandardizedVectors:
    return StandardizedVectors(*json.loads((folder / "moments.json").read_text()))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RegressionConfig(DataConfig):
    """Lines of numbers; the last number is the target."""

    kind: Literal["regression"] = "regression"
    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "nll"}
    task_name: ClassVar[str] = f"{__name__}:Regression"
    loader_name: ClassVar[str] = f"{__name__}:load_regression"
    model_noun: ClassVar[str] = "a regression"
    usage_hint: ClassVar[str] = "predicts numbers"
    next_command: ClassVar[str] = "none {}"
    path_fields: ClassVar[tuple[str, ...]] = ("train",)

    train: Annotated[PathSpecs, Field(min_length=1)]


@plain_dataclass(frozen=True)
class Table:
    """Source and target vectors, one row per example."""

    src: np.ndarray[Any, Any]
    tgt: np.ndarray[Any, Any]

    def locate(self, index: int) -> str:
        return f"line {index + 1}"


@plain_dataclass(frozen=True)
class Prepared:
    """The data that `prepare` returns."""

    train: Table
    valid: Table
    content_hashes: dict[str, str]
    report: Any


class Report:
    """An empty data report."""

    def lines(self) -> list[str]:
        return []

    def to_json(self) -> dict[str, Any]:
        return {}


class Regression(Task):
    """Prediction of numbers from vectors, trained on `ValueBatch`."""

    batch_type = ValueBatch
    unit = "lines"
    needs = ()

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: Any) -> dict[str, int]:
        table = np.loadtxt(config.data.train[0])  # type: ignore[attr-defined]
        for side, columns in (("src", table[:, :-1]), ("tgt", table[:, -1:])):
            save_codec(StandardizedVectors(columns.mean(0).tolist(), columns.std(0).tolist()), folder, side)
        return {}

    def prepare(self, config: Config, codecs: Any, cache: Path, on_progress: Any) -> Prepared:
        table = np.loadtxt(config.data.train[0])  # type: ignore[attr-defined]
        hashes = hash_inputs(config.data.input_specs(), cache)
        src, tgt = codecs[0].encode(table[:, :-1]), codecs[1].encode(table[:, -1:])
        return Prepared(Table(src[20:], tgt[20:]), Table(src[:20], tgt[:20]), hashes, Report())

    def steps(
        self, data: Prepared, config: Config, codecs: Any, world: Any, after: Position | None
    ) -> Iterator[TrainingStep[Any]]:
        start, lengths = next_position(after), np.ones(len(data.train.src), np.int64)
        while True:
            order = seeded_generator(config.seed, start.epoch).permutation(len(lengths))
            steps = np.array_split(order, 5)
            for index in range(start.step, len(steps)):
                micro_steps = split_among_ranks(np.array_split(steps[index], 3), lengths, world.world_size)
                batches = collate_rank(micro_steps, world.rank, lambda rows: batch_of(data.train, rows))
                yield TrainingStep(Position(start.epoch, 0, index), start.epoch + (index + 1) / len(steps), batches)
            start = Position(start.epoch + 1, 0, 0)

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        batch = batch_of(run.data.valid, np.arange(len(run.data.valid.src)))
        with torch.inference_mode():
            errors = inference_model(run, weights)(batch) - batch.targets
        return Validation({}, float(errors.square().mean()), "squared_error")


def batch_of(table: Table, rows: np.ndarray[Any, Any]) -> ValueBatch:
    return collate_values(table.src[rows], table.tgt[rows], rows.tolist())


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LinearConfig(ModelConfig):
    """A linear model."""

    family: Literal["linear"] = "linear"
    task: ClassVar[str] = "regression"
    outputs: ClassVar[str] = "numbers"
    default_objective: ClassVar[str] = "squared_error"

    def build(self, src: Any, tgt: Any) -> nn.Module:
        return Linear(len(src.mean), len(tgt.mean))


class Linear(nn.Linear):
    def forward(self, batch: ValueBatch) -> Tensor:  # type: ignore[override]
        return super().forward(batch.src[:, 0])


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SquaredErrorConfig(ObjectiveConfig):
    """The squared error of each number."""

    family: Literal["squared_error"] = "squared_error"
    outputs: ClassVar[str] = "numbers"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)

    def build(self) -> Any:
        return squared_error


def squared_error(model: Any, batch: ValueBatch, context: Any) -> Loss:
    assert batch.targets is not None
    errors = (model(batch) - batch.targets).square()
    is_known = ~errors.isnan()
    total = torch.where(is_known, errors, 0.0).sum()
    return Loss(total, is_known.sum().float())


def load_regression(run: Any, checkpoint: Any, device: str, precision: str) -> Any:
    loaded = load_run(run, checkpoint, RegressionConfig.model_noun)

    def predict(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        src, tgt = loaded.codecs
        with torch.inference_mode():
            found = loaded.model(collate_values(src.encode(vectors), None, range(len(vectors))))
        return np.asarray(found.numpy() * tgt.std + tgt.mean)

    return predict


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    components = {
        "codec": {"standardized": load_standardized},
        "task": {"regression": RegressionConfig},
        "model": {"linear": LinearConfig},
        "objective": {"squared_error": SquaredErrorConfig},
    }
    for kind, entries in components.items():
        for name, component in entries.items():
            monkeypatch.setitem(registry._parts[kind], name, registry.Entry(kind, name, component, "", "a test"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    vectors = np.random.default_rng(0).normal(5, 3, (120, 3))
    np.savetxt(tmp_path / "table", np.column_stack([vectors, vectors @ WEIGHTS + 7]))
    return Config(
        data=RegressionConfig(train=[str(tmp_path / "table")]),
        model=LinearConfig(),
        objective=SquaredErrorConfig(),
        optim=OptimConfig(optimizer=AdamConfig(lr=0.1), schedule=ConstantScheduleConfig()),
        training=TrainingConfig(
            max_steps=60, log_every=5, valid_every=20, save_every=10, device="cpu", precision="fp32", threads=1
        ),
    )


def test_training_fits_the_data_and_predictions_are_not_standardized(config: Config, tmp_path: Path) -> None:
    seqlab.train(config, tmp_path / "run")
    lines = comparable_metrics(tmp_path / "run", ["train"])
    assert lines[-1]["loss"] < 1e-3 < lines[0]["loss"]
    assert not [name for line in lines for name in line if "tokens" in name or "padding" in name]
    predict = seqlab.load(tmp_path / "run")
    vectors = np.array([[1.0, 2.0, 3.0], [10.0, 0.0, -4.0]])
    assert predict(vectors)[:, 0] == pytest.approx(vectors @ WEIGHTS + 7, abs=0.5)


def test_resuming_is_exact(config: Config, tmp_path: Path) -> None:
    seqlab.train(config, tmp_path / "uninterrupted")
    seqlab.train(replace(config, training=replace(config.training, max_steps=20)), tmp_path / "run")
    seqlab.train(config, tmp_path / "run")
    assert_equal_runs(tmp_path / "uninterrupted", tmp_path / "run")


def test_a_changed_codec_is_refused(config: Config, tmp_path: Path) -> None:
    seqlab.train(config, tmp_path / "run")
    file = tmp_path / "run" / "src_codec" / "moments.json"
    file.write_text(file.read_text().replace("[[", "[[1"))  # another digit in the first mean
    with pytest.raises(ValueError, match=r"src_codec is not the src codec that .* its model would misread its inputs"):
        seqlab.load(tmp_path / "run")
