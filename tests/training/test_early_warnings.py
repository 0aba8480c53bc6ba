"""Early warnings: each planted fault gives its warning once, and a healthy training gives none."""

import dataclasses
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from reference.ranks import run_in_ranks
from reference.temporary_parts import temporary_parts
from torch import Tensor, nn

import seqlab
from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models import (
    EncoderPredictorConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
)
from seqlab.models.config import SETTINGS
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.objectives import Loss, SoftmaxConfig, SquaredErrorConfig, StepContext
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig, ScheduleConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.training import train
from seqlab.training.update_sizes import SAMPLED_ELEMENTS, UpdateSizes

STEPS = 80


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Write a table: a class and a number that depend on three numbers, and three columns of noise."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 3))
    labels = np.where(x.sum(1) > 0.3, "b", "a")
    columns = {"x": x.T, "label": labels, "value": x.sum(1), "noise": rng.normal(size=300)}
    header = "x0,x1,x2,label,value,noise,chance\n"
    chance = np.where(rng.random(300) < 0.7, "a", "b")
    rows = zip(*columns["x"], labels, columns["value"], columns["noise"], chance, strict=True)
    path = tmp_path / "table.csv"
    path.write_text(header + "".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BranchConfig(PredictorConfig):
    """A hidden layer, and optionally a branch that no gradient reaches, or an output of another size."""

    family: Literal["branch"] = "branch"
    detached: bool = False
    output_scale: float = 1.0

    def build(self, src: InputSide, tgt: TargetSide) -> "Branch":
        """Build the model."""
        return Branch(self, src.shape[-1], tgt.size)


class Branch(nn.Module):
    """Hidden layer with a branch beside it."""

    def __init__(self, config: BranchConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.hidden, self.branch = nn.Linear(inputs, 16), nn.Linear(inputs, 16)
        self.project = nn.Linear(16, outputs)

    def forward(self, batch: ValueBatch) -> Tensor:
        x = batch.src.flatten(1)
        branch = self.branch(x)
        hidden = torch.tanh(self.hidden(x)) + (branch.detach() if self.config.detached else branch)
        outputs: Tensor = self.project(hidden) * self.config.output_scale
        return outputs


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MeanOfSumsConfig(SoftmaxConfig):
    """Softmax whose loss is a mean, but is counted as a sum."""

    family: Literal["mean_of_sums"] = "mean_of_sums"  # type: ignore[assignment]

    def build(self) -> Any:
        """Build the objective."""
        objective = super().build()

        def compute(model: Any, batch: ValueBatch, context: StepContext) -> Loss:
            loss = objective(model, batch, context)
            return dataclasses.replace(loss, total=loss.total / loss.count)

        return compute


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EarlyEndConfig(ScheduleConfig):
    """Linear decay that ends at its own step."""

    family: Literal["early_end"] = "early_end"
    end: int = 20

    def lr_at(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate."""
        return peak * max(0.0, 1 - step / self.end)


@pytest.fixture(autouse=True)
def _parts() -> Iterator[None]:
    with temporary_parts():
        for kind, config in (("model", BranchConfig), ("objective", MeanOfSumsConfig), ("schedule", EarlyEndConfig)):
            seqlab.register(kind)(config)
        yield


def make_config(table: Path, target: str = "label", lr: float = 0.01, **sections: Any) -> Config:
    """Return the config of a training of 80 steps."""
    predicts = "numbers" if target in ("value", "noise") else "class"
    data = PredictionConfig(
        train=[str(table)], inputs=["x0", "x1", "x2"], target=[target], predicts=predicts, batch_rows=30
    )
    training = {"max_steps": STEPS, "log_every": 1, "save_every": 20, "valid_every": 10, "device": "cpu"}
    optim = {"optimizer": AdamConfig(lr=lr), "schedule": ConstantScheduleConfig(warmup_steps=8)}
    return Config(
        data=data,
        model=sections.get("model", BranchConfig()),
        objective=sections.get("objective", SoftmaxConfig() if predicts == "class" else SquaredErrorConfig()),
        optim=OptimConfig(**(optim | sections.get("optim", {}))),
        training=TrainingConfig(**(training | sections.get("training", {})), precision="fp32", threads=1),
    )


def early_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of the module, and forget them."""
    found = [each.getMessage() for each in caplog.records if each.name == "seqlab.training.early_warnings"]
    caplog.clear()
    return found


@pytest.mark.parametrize("target", ["label", "value"])
@pytest.mark.parametrize(
    "model",
    [BranchConfig(), EncoderPredictorConfig(encoder=LinearEncoderConfig())],
    ids=["hidden layer", "weights that start at 0"],
)
def test_a_healthy_training_has_no_warning(
    table: Path, tmp_path: Path, target: str, model: PredictorConfig, caplog: pytest.LogCaptureFixture
) -> None:
    train(make_config(table, target, model=model), tmp_path / "run")
    assert early_warnings(caplog) == []


FAULTS = {
    "no gradient": (
        {"model": BranchConfig(detached=True)},
        r"no gradient has reached the parameters branch\.weight, branch\.bias in the first 64 steps",
    ),
    "large outputs": (
        {"model": BranchConfig(output_scale=100)},
        r"the loss of the first step is \d+\.\d+, but random weights should give 0\.347 to 3\.040: inputs or targets",
    ),
    "a mean that is counted as a sum": (
        {"objective": MeanOfSumsConfig()},
        r"the loss of the first step is 0\.0\d+, but .*: the inputs may contain the target, or `count`",
    ),
    "learning rate too large": (
        {"lr": 3.0},
        r"the update of step \d is \d\.\d+ times as large as the initial weights \(median of 3 matrices\).*\(3\.000\)",
    ),
    "learning rate too small": (
        {"lr": 1e-9},
        r"the update of step 64 is at most \d\.\de-09 times as large as the weights, .* \(1e-09\)",
    ),
    "labels without relation to inputs": (
        {"target": "chance", "lr": 1e-4, "optim": {"l1_penalty": 0.0}},
        r"after 40 of 80 steps the validation \(accuracy \d+\.\d+\) is no better than a constant prediction \(\d+",
    ),
    "schedule that ends early": (
        {"optim": {"schedule": EarlyEndConfig()}},
        r"the learning rate is 0 from about step 20 of 80 on, so the steps after it change nothing",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_reported_once(
    table: Path, tmp_path: Path, changes: dict[str, Any], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    train(make_config(table, **changes), tmp_path / "run")
    matching = [each for each in early_warnings(caplog) if re.match(expected, each)]
    assert len(matching) == 1
    assert "\n" not in matching[0]


def test_a_resumed_run_does_not_repeat_a_warning(table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    faults = {"model": BranchConfig(detached=True, output_scale=100), "target": "chance", "lr": 1e-9}
    train(make_config(table, **faults), tmp_path / "run")
    assert len(early_warnings(caplog)) == 4
    train(make_config(table, **faults, training={"max_steps": 2 * STEPS - 2}), tmp_path / "run")
    assert early_warnings(caplog) == []


def test_predictions_of_numbers_are_compared_with_the_mean(
    table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(make_config(table, "noise", lr=0.1), tmp_path / "run")
    [message] = early_warnings(caplog)
    assert re.match(
        r"after 40 of 80 steps the validation \(r2 -\d.*\) is no better than a constant prediction \(0", message
    )


def test_initial_weights_of_another_run_have_no_expected_loss(
    table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(table, model=BranchConfig(output_scale=100))
    train(config, tmp_path / "first")
    assert len(early_warnings(caplog)) == 1
    train(dataclasses.replace(config, init_from=str(tmp_path / "first")), tmp_path / "second")
    assert early_warnings(caplog) == []


def messages_of_training(config: Config, run_dir: Path) -> list[str]:
    """Train, and return the early warnings of this process."""
    logger, messages = logging.getLogger("seqlab.training.early_warnings"), []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        train(config, run_dir)
    finally:
        logger.removeHandler(handler)
    return messages


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_only_the_main_rank_warns(table: Path, tmp_path: Path, parallel: str) -> None:
    training = {"max_steps": 66, "valid_every": 66, "parallel": parallel}
    config = make_config(
        table, model=EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(16,))), lr=3.0, training=training
    )
    main, other = run_in_ranks(2, messages_of_training, config, tmp_path / "run")
    assert (len(main), other) == (1, []), (main, other)
    assert "times as large as the initial weights (median of 2 matrices)" in main[0]


def test_sizes_equal_those_of_the_whole_matrix() -> None:
    torch.manual_seed(1)
    small, large = nn.Parameter(torch.randn(8, 4)), nn.Parameter(torch.randn(400, 3 * SAMPLED_ELEMENTS // 400))
    unused = nn.Parameter(torch.randn(3))
    optimizer = torch.optim.SGD([small, large, unused], lr=0.1)
    sizes = UpdateSizes({"small": small, "large": large, "unused": unused}, optimizer)
    initial = small.detach().norm().item()
    for _ in range(2):
        sizes.start()
        before = [each.detach().clone() for each in (small, large)]
        (small.square().sum() * 1e-30 + large.square().sum()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    assert sizes.without_gradient() == ["unused"]
    updates = sizes.updates()
    expected = [((p.detach() - old).norm() / old.norm()).item() for p, old in zip((small, large), before, strict=True)]
    assert [updates[name].update / updates[name].weights for name in ("small", "large")] == pytest.approx(
        expected, rel=0.02, abs=1e-12
    )
    assert updates["small"].initial == pytest.approx(initial)
    sizes.close()
    optimizer.step()
    assert sizes.updates() == updates


def test_logging_is_at_level_warning(table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(make_config(table, lr=3.0), tmp_path / "run")
    levels = {each.levelno for each in caplog.records if each.name == "seqlab.training.early_warnings"}
    assert levels == {logging.WARNING}
