"""Studies: arithmetic, configs, and complete runs of the short studies."""

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.studies import (
    batch_sizes,
    control,
    curves,
    minimum_ratio,
    paths,
    policy_gradient,
    regularisation,
    rewards,
    sharpness,
    surfaces,
)
from benchmarks.studies.__main__ import main
from benchmarks.studies.loss_surface import TASKS, SurfaceTask, TaskStudy, interval
from benchmarks.studies.study import first_below, smooth_losses
from seqlab.optim import AdamConfig, SgdConfig
from seqlab.recipes import RECIPES
from seqlab.runs.overrides import override

LINES = [{"kind": "train", "step": n, "loss": 10.0 - n, "minutes": n / 60} for n in range(1, 10)]


def test_first_below_compares_the_smoothed_loss() -> None:
    steps, losses = smooth_losses(LINES, window=2)
    assert steps == list(range(1, 10))
    assert losses[:3] == [9.0, 8.5, 7.5]
    assert first_below([*LINES, {"kind": "valid"}], 7.1) == (5, pytest.approx(5.0))  # the mean of 9, 8, 7, 6, 5 is 7
    assert first_below(LINES, 1.0) is None


@pytest.mark.parametrize("depth", curves.DEPTHS)
def test_networks_of_all_depths_have_about_the_requested_parameters(depth: int) -> None:
    for parameters in curves.PARAMETERS[2:]:
        width = curves.width_of(parameters, depth)
        sizes = [1, *[width] * depth, 1]
        count = sum((a + 1) * b for a, b in pairwise(sizes))
        assert abs(count - parameters) < 0.35 * parameters


def test_constructed_networks_approximate_curves_with_both_activations() -> None:
    """Eight linear pieces represent a sawtooth with four teeth exactly; for a wave, the error falls with width^-2."""
    for activation in curves.ACTIVATIONS:
        assert curves.construct_and_measure("sawtooth", activation, 8) < 2e-3
        errors = [curves.construct_and_measure("wave", activation, width) for width in (16, 32, 64)]
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)
        assert errors[1] / errors[2] == pytest.approx(4, rel=0.2)


def test_a_sawtooth_has_four_teeth() -> None:
    x = np.linspace(0, 1, 1025)
    y = curves.sawtooth(x)
    assert y.min() == 0
    assert ((y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:])).sum() == 4  # local maxima
    assert np.allclose(y, curves.sawtooth(1 - x))


def test_gradient_descent_on_a_ravine_matches_the_formula() -> None:
    """Each step multiplies a weight by 1 - lr * curvature."""
    path = np.array(surfaces.path_of(SgdConfig(lr=0.01, momentum=0.0), *surfaces.SURFACES["ravine"]))
    steps = np.arange(len(path))
    assert path[:, 0] == pytest.approx(-4 * 0.99**steps, rel=1e-4)
    assert path[:, 1] == pytest.approx(0.5**steps, rel=1e-4)
    plateau_path = surfaces.path_of(AdamConfig(lr=0.3), *surfaces.SURFACES["plateau"])
    assert surfaces.SURFACES["plateau"][0](surfaces.torch.tensor(plateau_path[-1])) < 0.1


@pytest.mark.learning
def test_surface_curves_have_contours_and_the_panels_of_the_stored_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["surfaces", "--work_dir", str(tmp_path), "--curves", str(tmp_path / "c.json")]) == 0
    assert "| schedule-free |" in capsys.readouterr().out
    written = json.loads((tmp_path / "c.json").read_text("utf-8"))
    assert written["panels"].keys() == written["contours"].keys()
    stored = Path(__file__).parents[2] / "docs" / "results" / "curves" / "surfaces.json"
    assert json.loads(stored.read_text("utf-8"))["panels"].keys() == written["panels"].keys()


def test_regularization_methods_are_valid_configs(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for task, recipe, base, _ in regularisation.TASKS:
        for method in regularisation.METHODS[task].values():
            override(RECIPES[recipe](tmp_path / task), list({**base, **method}.items()))


def test_batch_size_steps_cover_the_epochs() -> None:
    assert batch_sizes._steps("digits", 33) == batch_sizes.DIGITS_EPOCHS * 49
    assert batch_sizes._steps("digits", 4096) == batch_sizes.DIGITS_EPOCHS


@pytest.mark.learning
def test_curves_study_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curves", "--quick", "--work_dir", str(tmp_path)]) == 0
    assert "| sawtooth | relu, 5 layers |" in capsys.readouterr().out


@pytest.mark.learning
def test_the_study_of_rewards_compares_with_continued_cross_entropy(tmp_path: Path) -> None:
    """The baseline differs by exactly 0 from itself, and each method has a row."""
    small = {"model.d_model": 32, "model.d_ff": 32, "data.valid_max_pairs": 20, "optim.ema_decay": 0}
    methods = {
        rewards.CROSS_ENTROPY: [{"optim.optimizer.lr": 1e-3}],
        "minimum risk": [rewards.sampled("minimum_risk", "wer", 1e-3, num_samples=2)],
    }
    task = rewards.RewardTask("number_words", 1.0, ("wer", "bleu"), small, methods, start=small)
    settings, compared = rewards.RewardStudy(task).run(tmp_path, quick=True).tables
    assert settings.count("\n") == 3
    rows = {line.split(" | ")[0].strip("| "): line for line in compared.split("\n")[2:]}
    assert rows.keys() == {"the start", *methods}
    assert rows[rewards.CROSS_ENTROPY].count("+0.00 (+0.00 to +0.00)") == 2


@pytest.mark.learning
def test_the_study_of_policy_gradients_measures_each_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"model.d_model": 32, "model.d_ff": 32, "data.valid_max_pairs": 20}
    monkeypatch.setattr(policy_gradient, "RECIPE", "number_words")
    chosen = ("total reward", "critic")
    names = (policy_gradient.UNCHANGED, *chosen)
    monkeypatch.setattr(policy_gradient, "VARIANTS", {name: policy_gradient.VARIANTS[name] for name in names})
    monkeypatch.setattr(policy_gradient, "PANELS", {"all": chosen})
    study = policy_gradient.run(tmp_path, quick=True, shared=small)
    [table] = study.tables
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")[2:]]
    assert [name for name, *_ in rows] == ["the start", *chosen]
    assert all(float(row[1]) > 0 for row in rows[1:])
    assert [*study.curves["panels"]["all"]] == [*chosen]
    [(_, gain), *_] = policy_gradient.gains_of(tmp_path, 1)
    assert gain == 0  # the first samples are those of the start


@pytest.mark.learning
@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
def test_the_studies_of_the_loss_surface(tmp_path: Path, task: SurfaceTask) -> None:
    """Rescaled layers keep the losses and the adaptive sharpness, not the highest eigenvalue; runs are trained once."""
    runs = tmp_path / f"sharpness_{task.name}"
    points, differences, correlations = TaskStudy(task, sharpness.run).run(runs, quick=True).tables
    small, _, *rescaled = ([cell.strip() for cell in line.split("|")[3:-1]] for line in points.split("\n")[2:])
    assert len(rescaled) == len(sharpness.SCALES)
    for train_loss, valid_loss, highest, adaptive in rescaled:
        assert [train_loss, valid_loss, adaptive] == [small[0], small[1], small[3]]
        assert highest != small[2]
    assert differences.count("\n") == 2
    assert correlations.count("\n") == 3
    trained = sorted(path.name for path in runs.iterdir())
    assert TaskStudy(task, paths.run).run(tmp_path / "paths", quick=True).tables[0].count("\n") == 3
    assert sorted(path.name for path in runs.iterdir()) == trained
    [ratios] = TaskStudy(task, minimum_ratio.run).run(tmp_path / "ratio", quick=True).tables
    assert ratios.count("\n") == 3


def test_kendalls_rank_correlation_equals_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    x, y = np.random.default_rng(1).normal(size=(2, 12))
    assert sharpness.kendall_tau([*zip(x, y, strict=True)]) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_intervals_use_students_t() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = [1.0, 2.0, 4.0]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert interval(values) == f"{np.mean(values):.3g} ± {(high - low) / 2:.2g}"


@pytest.mark.learning
def test_the_study_of_agents_has_a_row_for_each(tmp_path: Path) -> None:
    table, *paths = control.run(tmp_path, quick=True).tables
    assert table.count("\n") == len(control.AGENTS) + 1
    assert len(paths) == 3


def test_the_path_of_an_agent_ends_at_the_goal() -> None:
    """Up, then along the second lowest row, then down."""
    actions = np.full(48, 1)
    actions[[36, 35]] = 0, 2
    agent = SimpleNamespace(observations=SimpleNamespace(num_states=48), act=lambda states: actions)
    assert control.path_of(agent).split("\n") == ["." * 12, "." * 12, "→" * 11 + "↓", "↑" + "." * 11]


def test_optimal_values_of_the_lake() -> None:
    """That of the start is 0.542 with a discount of 0.99, as other implementations find; final states have none."""
    values = control.optimal_values(0.99)
    assert values[0] == pytest.approx(0.542, abs=1e-3)
    assert values[[5, 7, 11, 12, 15]].tolist() == [0.0] * 5  # holes and the goal
