"""Losses of simple models: those of scikit-learn and of count-based runs, on the validation rows of a run."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from contracts.trained import Trained
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from seqlab.diagnosis.baselines import NUM_NEIGHBORS, measure_baselines
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import LeftOut
from seqlab.diagnosis.measurement import Measurement
from seqlab.diagnosis.rows import Rows, features, rows_of_batches
from seqlab.diagnosis.simple_models import WEIGHT_DECAY, standardize

LabOf = Callable[[str], Experiments]


def by_name(lab: Experiments) -> dict[str, Measurement]:
    return {each.name: each for each in measure_baselines(lab)}


def arrays(lab: Experiments) -> tuple[np.ndarray, np.ndarray, Rows, Rows]:
    """Return the standardized features of training and validation rows, and the rows."""
    train, valid = lab.rows, rows_of_batches(lab.valid_sample)
    joined = Rows([*train.inputs, *valid.inputs], [], np.arange(len(train) + len(valid)), train.target_kind)
    inputs = standardize(features(joined)).double().numpy()
    return inputs[: len(train)], inputs[len(train) :], train, valid


def test_models_of_labels_are_those_of_scikit_learn(lab_of: LabOf) -> None:
    lab = lab_of("transformer_predictor")
    found = by_name(lab)
    inputs, valid_inputs, train, valid = arrays(lab)
    labels, valid_labels = train.labels(), valid.labels()
    assert found["the run"].value == lab.final.valid.mean
    assert found["the run"].topic == f"loss of {len(valid)} validation rows, in nats per label"

    def nll(probs: np.ndarray) -> float:
        return float(-np.log(probs[np.arange(len(valid)), valid_labels]).mean())

    frequencies = np.bincount(labels) / len(labels)
    assert found["a constant prediction"].value == pytest.approx(nll(np.tile(frequencies, (len(valid), 1))), rel=1e-3)
    strength = 1 / (2 * WEIGHT_DECAY * len(labels))  # of scikit-learn: 0.5 w^2 beside C times the sum of losses
    linear = LogisticRegression(C=2 * strength, max_iter=1000, tol=1e-8).fit(inputs, labels)
    assert len(np.unique(labels)) == 2  # a sigmoid of weights w is a softmax of +w/2 and -w/2: half of the penalty
    assert found["linear model"].value == pytest.approx(nll(linear.predict_proba(valid_inputs)), rel=0.02)
    neighbors = KNeighborsClassifier(NUM_NEIGHBORS).fit(inputs, labels).predict_proba(valid_inputs)
    prior = (np.bincount(labels) + 1) / (len(labels) + 2)
    smoothed = (NUM_NEIGHBORS * neighbors + prior) / (NUM_NEIGHBORS + 1)
    assert found[f"{NUM_NEIGHBORS} nearest neighbors"].value == pytest.approx(nll(smoothed), rel=1e-3)


def test_models_of_numbers_are_measured_with_the_objective_of_the_run(lab_of: LabOf) -> None:
    """Squared errors, Huber losses, and cross entropies of label sets."""
    lab = lab_of("lstm_predictor")
    found = by_name(lab)
    inputs, valid_inputs, train, valid = arrays(lab)
    numbers, valid_numbers = train.numbers(), valid.numbers()
    mean = float(((valid_numbers - numbers.mean(0)) ** 2).mean())
    assert found["a constant prediction"].value == pytest.approx(mean, rel=1e-3)
    ridge = Ridge(alpha=WEIGHT_DECAY * numbers.size).fit(inputs, numbers)
    linear = float(((valid_numbers - ridge.predict(valid_inputs).reshape(valid_numbers.shape)) ** 2).mean())
    assert found["linear model"].value == pytest.approx(linear, rel=0.02)
    nearest = KNeighborsRegressor(NUM_NEIGHBORS).fit(inputs, numbers).predict(valid_inputs)
    smoothed = (NUM_NEIGHBORS * nearest.reshape(valid_numbers.shape) + numbers.mean(0)) / (NUM_NEIGHBORS + 1)
    expected = float(((valid_numbers - smoothed) ** 2).mean())
    assert found[f"{NUM_NEIGHBORS} nearest neighbors"].value == pytest.approx(expected, rel=1e-3)
    huber = by_name(lab_of("rnn_predictor"))
    assert huber["a constant prediction"].value < found["a constant prediction"].value / 2 + 1e-3
    assert huber["the run"].topic.endswith("`objective.family: huber`")
    sets = by_name(lab_of("mlp, label sets, mean of the last"))
    assert sets["a constant prediction"].value == pytest.approx(np.log(2), rel=0.05)
    assert sets[f"{NUM_NEIGHBORS} nearest neighbors"].value < 0.5


@pytest.mark.parametrize(
    ("row", "baseline", "counted"),
    [
        ("rnn_lm", "3-grams of the targets", "ngram_lm"),
        ("rnn_labeller, words", "frequencies of the labels of each word", "frequency_labeller"),
    ],
)
def test_count_based_baselines_are_those_of_count_based_runs(
    lab_of: LabOf, trained_row: Callable[[str], Trained], row: str, baseline: str, counted: str
) -> None:
    last = json.loads((trained_row(counted).run / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    [expected] = [value for name, value in last.items() if name.startswith("nll")]
    found = by_name(lab_of(row))
    assert found[baseline].value == pytest.approx(expected, rel=1e-5)
    others = [each.value for name, each in found.items() if name.startswith("frequencies") and name != baseline]
    assert min(others) > expected


def test_the_time_limits_the_number_of_models(lab_of: LabOf) -> None:
    lab = lab_of("rnn_lm")
    lab.minutes = 0
    models = measure_baselines(lab)
    assert next(models).name == "the run"
    with pytest.raises(LeftOut, match="time is up"):
        next(models)


def test_continuous_texts_have_documents_and_contexts_across_them(lab_of: LabOf) -> None:
    found = by_name(lab_of("transformer_lm, continuous, muon"))
    assert found["3-grams of the targets"].value < found["frequencies of the tokens"].value < np.log(50)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("ngram_lm", "counting"),
        ("lstm, copying, guided attention", "terms that simple models do not have"),
        ("gru_lm, standardized rewards", "samples or episodes"),
        ("gru_recogniser", "one token after the other"),
        ("table, Q-learning", "samples or episodes"),
    ],
)
def test_losses_that_are_not_comparable_are_left_out(lab_of: LabOf, row: str, reason: str) -> None:
    with pytest.raises(LeftOut, match=reason):
        list(measure_baselines(lab_of(row)))
