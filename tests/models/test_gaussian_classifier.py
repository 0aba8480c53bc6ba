"""Gaussian classifiers against scikit-learn and scipy; invalid data and configs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqlab.data.batch import batch_of_arrays
from seqlab.models import GaussianClassifier, GaussianClassifierConfig
from seqlab.models.predictor import InputShape, TargetSize
from seqlab.objectives import SoftmaxConfig
from seqlab.runs.config import Config
from seqlab.tasks.prediction.config import PredictionConfig

SIZE, NUM_CLASSES = 5, 3


@pytest.fixture
def examples() -> tuple[Any, Any]:
    """Correlated inputs (200, 5) of three classes, the last of which is rare."""
    rng = np.random.default_rng(1)
    classes = rng.choice(NUM_CLASSES, 200, p=[0.5, 0.4, 0.1])
    transforms = rng.normal(size=(NUM_CLASSES, SIZE, SIZE))
    noise = np.einsum("nij,nj->ni", transforms[classes], rng.normal(size=(200, SIZE)))
    inputs = rng.normal(size=(NUM_CLASSES, SIZE))[classes] + noise
    return inputs.astype(np.float32), classes


def fit_model(examples: tuple[Any, Any], covariance: Any, shrinkage: float = 0.0) -> GaussianClassifier:
    model = GaussianClassifierConfig(covariance=covariance, shrinkage=shrinkage).build(
        InputShape((1, SIZE)), TargetSize(NUM_CLASSES)
    )
    inputs, classes = (torch.from_numpy(each) for each in examples)
    model.fit(zip(inputs.split(64), classes.split(64), strict=True))
    return model


@torch.inference_mode()
def scores(model: GaussianClassifier, inputs: Any) -> Any:
    return model(batch_of_arrays(inputs[:, None], None, np.arange(len(inputs)))).numpy()


def test_shared_covariance_equals_linear_discriminant_analysis(examples: tuple[Any, Any]) -> None:
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    expected = discriminant.LinearDiscriminantAnalysis(solver="lsqr").fit(*examples).predict_log_proba(examples[0])
    found = torch.from_numpy(scores(fit_model(examples, "shared"), examples[0])).log_softmax(1)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_diagonal_covariance_equals_naive_bayes(examples: tuple[Any, Any]) -> None:
    bayes = pytest.importorskip("sklearn.naive_bayes").GaussianNB(var_smoothing=0).fit(*examples)
    found = scores(fit_model(examples, "diagonal"), examples[0])
    np.testing.assert_allclose(found, bayes.predict_joint_log_proba(examples[0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_scores_are_log_densities(shrinkage: float, examples: tuple[Any, Any]) -> None:
    normal = pytest.importorskip("scipy.stats").multivariate_normal
    inputs, classes = examples
    found = scores(fit_model(examples, "own", shrinkage), inputs)
    for k in range(NUM_CLASSES):
        class_inputs = inputs[classes == k].astype(np.float64)
        covariance = np.cov(class_inputs.T, bias=True)
        mean_variance = np.trace(covariance) / SIZE
        covariance = (1 - shrinkage) * covariance + shrinkage * mean_variance * np.eye(SIZE)
        expected = normal(class_inputs.mean(0), covariance).logpdf(inputs) + np.log(len(class_inputs) / len(inputs))
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("covariance", ["shared", "own", "diagonal"])
def test_constant_inputs_need_shrinkage(covariance: Any, examples: tuple[Any, Any]) -> None:
    inputs, classes = examples
    inputs[:, 2] = 0
    with pytest.raises(ValueError, match=r"raise `model\.shrinkage` \(now 0\.0\)"):
        fit_model((inputs, classes), covariance)
    assert np.isfinite(scores(fit_model((inputs, classes), covariance, 0.1), inputs)).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("covariance", ["shared", "own"])
def test_linearly_dependent_inputs_need_shrinkage(covariance: Any, seed: int) -> None:
    """The covariance matrix is singular up to rounding errors, which a factorization may not detect."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(60, SIZE)).astype(np.float32)
    inputs[:, 1] = 2 * inputs[:, 3]
    with pytest.raises(ValueError, match="are linearly dependent"):
        fit_model((inputs, np.arange(60) % NUM_CLASSES), covariance)


@pytest.mark.parametrize("covariance", ["shared", "own", "diagonal"])
def test_results_are_independent_of_the_batch(covariance: Any, examples: tuple[Any, Any]) -> None:
    model = fit_model(examples, covariance, 0.1)
    batched = scores(model, examples[0])
    np.testing.assert_array_equal(
        np.concatenate([scores(model, examples[0][i : i + 1]) for i in range(50)]), batched[:50]
    )


def test_classes_without_examples_are_refused(examples: tuple[Any, Any]) -> None:
    inputs, classes = examples
    with pytest.raises(ValueError, match=r"Class 3 of 3, .* has 0 training examples"):
        fit_model((inputs, np.minimum(classes, 1)), "shared")


def test_run_is_fitted_in_one_pass_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from seqlab.cli.main import main

    rng = np.random.default_rng(2)
    classes = rng.integers(0, 2, 400)
    inputs = rng.normal(size=(400, 2)) * np.where(classes, 3.0, 0.5)[:, None]  # the classes differ only in variance
    rows = [f"{x:.4f},{y:.4f},{'wide' if k else 'narrow'}" for (x, y), k in zip(inputs, classes, strict=True)]
    (tmp_path / "t.csv").write_text("x,y,kind\n" + "\n".join(rows) + "\n")
    accuracies = {}
    for covariance in ("shared", "own"):
        run_dir = tmp_path / covariance
        options = ("--model.family", "gaussian_classifier", "--model.covariance", covariance, "--device", "cpu")
        table = str(tmp_path / "t.csv")
        assert main(["train", "--data.train", table, "--data.target", "kind", "--run_dir", str(run_dir), *options]) == 0
        capsys.readouterr()
        assert main(["predict", str(run_dir), "--input", str(tmp_path / "t.csv")]) == 0
        predicted = capsys.readouterr().out.split()
        accuracies[covariance] = np.mean(
            [label == row.split(",")[2] for label, row in zip(predicted, rows, strict=True)]
        )
    assert accuracies["shared"] < 0.75 < 0.9 < accuracies["own"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"predicts": "class", "augment_mixup": 0.2},
            r"is fitted without data augmentation: remove `data\.augment_\.\.\.`",
        ),
        ({}, r"predicts classes, but `data\.predicts` is `numbers`"),
    ],
)
def test_augmented_data_and_regression_targets_are_refused(fields: dict[str, Any], message: str) -> None:
    data = PredictionConfig(train=["t.csv"], target=["y"], **fields)
    with pytest.raises(ValueError, match=message):
        Config(data=data, model=GaussianClassifierConfig(), objective=SoftmaxConfig())
