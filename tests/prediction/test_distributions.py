"""Targets that are class probabilities, and mixup."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prediction.conftest import tiny, write_csv

import seqlab
from seqlab.data.batch import batch_of_arrays
from seqlab.data.targets import DistributionTarget
from seqlab.models import (
    EncoderPredictorConfig,
    GaussianClassifierConfig,
    LinearEncoderConfig,
    ModelConfig,
)
from seqlab.objectives import SoftmaxConfig, StepContext
from seqlab.optim import OptimConfig
from seqlab.runs.summary import summarize
from seqlab.tasks.prediction.augment import mixup

RNG = np.random.default_rng(3)
ONCE = {"save_every": 200, "valid_every": 200}
"""Checkpoint and validation only at the end."""


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_hot_targets_have_the_loss_of_class_ids(smoothing: float) -> None:
    scores, numbers = torch.randn(6, 4), np.array([0, 1, 2, 3, 1, 1])
    objective = SoftmaxConfig(label_smoothing=smoothing).build()
    found = []
    for targets in (numbers, np.eye(4, dtype=np.float32)[numbers]):
        batch = batch_of_arrays(np.zeros((6, 1, 1), np.float32), targets, np.arange(6))
        found.append(objective(lambda _: scores, batch, StepContext(0)))
    torch.testing.assert_close(found[0].total, found[1].total)
    assert found[0].count == found[1].count == 6


def test_loss_is_the_cross_entropy_with_the_target_distribution() -> None:
    scores, targets = torch.randn(5, 3), RNG.dirichlet([1, 1, 1], 5).astype(np.float32)
    batch = batch_of_arrays(np.zeros((5, 1, 1), np.float32), targets, np.arange(5))
    loss = SoftmaxConfig().build()(lambda _: scores, batch, StepContext(0))
    expected = -(torch.from_numpy(targets) * scores.log_softmax(1)).sum()
    torch.testing.assert_close(loss.total, expected)


@pytest.fixture
def one_hot(tmp_path: Path) -> str:
    """Write 300 points with one-hot columns for their sectors (three)."""
    points = RNG.normal(size=(300, 2))
    sectors = (np.arctan2(points[:, 1], points[:, 0]) // (2 * np.pi / 3)).astype(int) % 3
    rows = [[f"{x:.4f}", f"{y:.4f}", *np.eye(3, dtype=int)[k]] for (x, y), k in zip(points, sectors, strict=True)]
    return write_csv(tmp_path / "t.csv", ["x", "y", "east", "north", "south"], rows)


@pytest.mark.parametrize("model", [EncoderPredictorConfig(encoder=LinearEncoderConfig()), GaussianClassifierConfig()])
def test_training_with_one_target_column_per_class(model: ModelConfig, one_hot: str, tmp_path: Path) -> None:
    config = tiny(
        one_hot,
        "east",
        "class",
        EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        inputs=["x", "y"],
        max_steps=100,
        **ONCE,
    )
    optim = OptimConfig() if model.is_count_based else config.optim
    config = replace(config, data=replace(config.data, target=["east", "north", "south"]), model=model, optim=optim)
    run = seqlab.load(seqlab.train(config, tmp_path / "run"))
    found = run.predict_detailed([{"x": 1, "y": 1}, {"x": -2, "y": 0.3}, {"x": 0.5, "y": -2}])
    assert [each.text for each in found] == ["east", "north", "south"]
    assert all(sum(each.values.values()) == pytest.approx(1) for each in found)


def test_zero_config_detects_one_column_per_class(one_hot: str, tmp_path: Path) -> None:
    from seqlab.cli.main import main

    options = ["--data.target", "east", "north", "south", "--training.max_steps", "10", "--device", "cpu"]
    assert main(["train", "--data.train", one_hot, *options, "--run_dir", str(tmp_path / "run")]) == 0
    assert "predicts: class" in (tmp_path / "run" / "config.yaml").read_text()


def test_invalid_distributions_are_reported_with_their_line(tmp_path: Path) -> None:
    rows = [["1", "0.5", "0.5"], ["2", "0.9", "0.3"], ["3", "1", "0"]]
    config = tiny(write_csv(tmp_path / "t.csv", ["x", "a", "b"], rows), "a", "class", inputs=["x"], valid_fraction=0.4)
    config = replace(config, data=replace(config.data, target=["a", "b"]))
    with pytest.raises(ValueError, match=r"t\.csv, line 3: the probabilities .* but are a = 0\.9, b = 0\.3"):
        seqlab.train(config, tmp_path / "run")


def test_the_most_probable_class_is_predicted() -> None:
    target = DistributionTarget(["a", "b"])
    assert target.lines(np.array([[0.2, 0.8], [0.6, 0.4]])) == ["b", "a"]


def test_mixup_uses_one_weight_for_inputs_and_targets() -> None:
    numbers = np.arange(200)
    inputs, targets = np.eye(200, dtype=np.float32)[:, None], np.eye(200, dtype=np.float32)[numbers]
    mixed_inputs, mixed_targets = mixup(inputs, targets, 1.0, np.random.default_rng(1))
    np.testing.assert_array_equal(mixed_inputs[:, 0], mixed_targets)
    np.testing.assert_allclose(mixed_targets.sum(1), 1, rtol=1e-6)
    weights = mixed_targets[numbers, numbers]
    assert 0.4 < weights.mean() < 0.6
    assert ((mixed_targets > 0).sum(1) <= 2).all()
    assert weights.std() == pytest.approx(12**-0.5, abs=0.05)  # Beta(1, 1) is uniform


@pytest.mark.parametrize(("target", "predicts"), [("price", "numbers"), ("class", "class"), ("labels", "labels")])
def test_training_with_mixup_reaches_a_low_loss(target: str, predicts: str, table: str, tmp_path: Path) -> None:
    batches = {"batch_rows": 48, "micro_batch_rows": 48}
    config = tiny(table, target, predicts, augment_mixup=0.3, max_steps=150, **batches, **ONCE)
    run = seqlab.train(config, tmp_path / "run")
    plain = seqlab.train(replace(config, data=replace(config.data, augment_mixup=0.0)), tmp_path / "plain")
    losses = [summarize(each).best.scores["loss"] for each in (run, plain)]
    assert losses[0] != losses[1]
    assert losses[0] < {"numbers": 0.5, "class": 0.5, "labels": 0.5}[predicts]
