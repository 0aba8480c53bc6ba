"""Saddle, minimum and slope of the training loss of a run; the escape from a saddle."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts.trained import Trained

from seqlab.cli.main import main
from seqlab.diagnosis.critical_points import check_critical_point
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.measurement import Measurement
from seqlab.diagnosis.next_commands import with_command
from seqlab.diagnosis.workbench import open_run

CURVATURE = "along the lowest eigenvector of the Hessian"
DECREASE = "decrease of the loss by the best step against it"
SLOPES = np.array([1.0, -2.0, 0.5])


Train = Callable[[str], Experiments]


@pytest.fixture(scope="module")
def lab_of(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Return a function that trains a model family on a linear function with noise, and opens the run."""
    folder = tmp_path_factory.mktemp("linear")
    rng = np.random.default_rng(0)
    for name, count in (("train", 600), ("valid", 100)):
        inputs = rng.normal(size=(count, 3))
        table = np.column_stack([inputs, inputs @ SLOPES + rng.normal(size=count)])
        np.savetxt(folder / f"{name}.csv", table, "%.6f", ",", header="a,b,c,y", comments="")

    def train(family: str, *more: str) -> Experiments:
        options = ["--data.train", str(folder / "train.csv"), "--data.valid", str(folder / "valid.csv")]
        options += ["--data.target", "y", "--data.batch_rows", "64", "--model.family", family, *more]
        options += ["--optim.optimizer.lr", "0.03", "--training.max_steps", "150", "--quiet"]
        assert main(["train", *options, "--run_dir", str(folder / family)]) == 0
        lab = Experiments(open_run(folder / family, tmp_path_factory.mktemp("scratch")), minutes=5)
        lab.num_updates = 40
        return lab

    return train


def split(answers: Iterator[Finding | Measurement]) -> tuple[list[Finding], dict[str, Measurement]]:
    """Return the findings, and the measurements by name."""
    found = list(answers)
    figures = [each for each in found if isinstance(each, Measurement)]
    return [each for each in found if isinstance(each, Finding)], {each.name: each for each in figures}


def test_zero_weights_are_a_saddle_that_a_step_leaves(lab_of: Train) -> None:
    """Near 0, tanh is linear: the lowest eigenvalue of the Hessian is -2 |E[y x]|, and the gradient is 0."""
    lab = lab_of("mlp", "--model.hidden_sizes", "8", "--model.activation", "tanh", "--model.dropout", "0")
    lab.bench.weights = {name: torch.zeros_like(value) for name, value in lab.bench.weights.items()}
    findings, figures = split(check_critical_point(lab))
    assert [finding.cause for finding in findings] == ["saddle_point"]
    assert findings[0].confidence == 0.98  # the gradient of both layers is exactly 0
    assert with_command(lab, findings[0]).command.endswith("--seed 2")
    curvature = figures[CURVATURE]
    rows = lab.rows
    inputs, targets = np.stack(rows.inputs)[:, 0].astype(float), rows.numbers()[:, 0]
    expected = -2 * np.linalg.norm(inputs.T @ targets / len(targets))
    assert curvature.value == pytest.approx(expected, rel=0.1)
    assert abs(curvature.value - expected) < 4 * curvature.standard_error
    assert "a saddle" in curvature.topic
    assert figures["norm at the weights of the run"].value < 0.2 * figures["norm at the start of the training"].value


def test_a_fitted_linear_model_is_at_a_minimum_and_a_new_one_on_a_slope(lab_of: Train) -> None:
    lab = lab_of("linear_model")
    findings, figures = split(check_critical_point(lab))
    assert not findings
    assert figures[CURVATURE].value > 0
    assert "a minimum" in figures[CURVATURE].topic
    assert abs(figures[DECREASE].value) < 0.01
    lab.bench.weights = {name: torch.zeros_like(value) for name, value in lab.bench.weights.items()}
    new = Experiments(lab.bench, minutes=5)
    findings, figures = split(check_critical_point(new))
    assert not findings
    assert CURVATURE not in figures
    assert "a step against it lowers the loss" in figures[DECREASE].topic
    assert figures[DECREASE].value > 0.2 * new.final.train.mean


def test_models_without_gradients_and_too_little_time_are_left_out(
    trained_row: Callable[[str], Trained], tmp_path: Path
) -> None:
    counted = Experiments(open_run(trained_row("gaussian_classifier").run, tmp_path / "counted"), 5)
    with pytest.raises(LeftOut, match="counting"):
        list(check_critical_point(counted))
    episodes = Experiments(open_run(trained_row("table, Q-learning").run, tmp_path / "episodes"), 5)
    with pytest.raises(LeftOut):
        list(check_critical_point(episodes))
    trained = open_run(trained_row("transformer").run, tmp_path / "trained")
    with pytest.raises(LeftOut, match="too short"):
        list(check_critical_point(Experiments(trained, 1e-6)))
