"""Comparison of runs: which ones can be compared, and the differences of their configs."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from contracts.trained import Trained

from seqlab.evaluation import compare
from seqlab.reports.comparison import compare_runs, config_differences, reason_not_to_compare
from seqlab.reports.contents import page_contents
from seqlab.reports.predictions import Predictions
from seqlab.reports.run_contents import RunContents, open_runs


@pytest.fixture
def copies(trained_row: Callable[[str], Trained], tmp_path: Path) -> list[RunContents]:
    """Return two copies of a trained translator, opened."""
    run = trained_row("transformer").run
    return open_runs([Path(shutil.copytree(run, tmp_path / name)) for name in ("one", "two")])


def with_outputs(run: RunContents, change: Callable[[str], str], side: str = "prediction") -> None:
    """Replace the predictions of a run by changed ones."""
    assert run.predictions is not None
    records = [{**record, side: change(str(record[side]))} for record in run.predictions.records]
    with patch.object(type(run.config.data.task), "validation_predictions", lambda task, run_dir: iter(records)):
        del run.predictions
        assert run.predictions is not None


def test_a_run_does_not_differ_from_its_copy(copies: list[RunContents]) -> None:
    found = compare_runs(*copies)
    assert found.scores.keys() >= {"bleu", "chrf", "wer", "exact_match"}
    assert all(each.difference == 0 and each.p_value == 1 for each in found.scores.values())
    assert (found.config, found.notes, found.rows) == ([], [], [])
    assert "  no difference but for paths, devices and threads" in found.lines()
    json.dumps(found.as_dict())


def test_scores_equal_those_of_evaluate_with_a_baseline(copies: list[RunContents]) -> None:
    one, two = copies
    with_outputs(two, lambda text: "ein hund")
    assert isinstance(one.predictions, Predictions)
    assert isinstance(two.predictions, Predictions)
    expected = compare(two.predictions.predicted, one.predictions.predicted, [one.predictions.targets], ["wer"])
    found = compare_runs(one, two)
    assert found.scores["wer"] == expected["wer"]
    assert any(line.startswith("wer difference = ") for line in found.lines())


def test_other_references_are_refused_and_shown_apart(copies: list[RunContents]) -> None:
    one, two = copies
    with_outputs(two, lambda text: f"{text} x", side="target")
    assert "has other references" in str(reason_not_to_compare(one, two))
    with pytest.raises(ValueError, match=r"two cannot be compared with .*one: its validation set has other references"):
        compare_runs(one, two)
    found = page_contents(copies)["comparison"]
    assert found["compared"] == []
    assert found["apart"][0]["run"] == "two"


def test_other_training_data_are_a_note(copies: list[RunContents]) -> None:
    copies[1].description["data_sha256"] = ["0" * 64]
    assert any("trained on other data" in note for note in compare_runs(*copies).notes)


def test_runs_of_other_tasks_and_other_texts_are_refused(
    trained_row: Callable[[str], Trained], copies: list[RunContents]
) -> None:
    [model, continuous] = open_runs([trained_row(name).run for name in ("rnn_lm", "transformer_lm, continuous, muon")])
    assert "data.kind" in str(reason_not_to_compare(copies[0], model))
    assert "hashes of the data" in str(reason_not_to_compare(continuous, model))
    assert reason_not_to_compare(model, model) is None
    assert compare_runs(model, model).scores == {}


def test_agents_of_other_environments_are_refused(trained_row: Callable[[str], Trained]) -> None:
    runs = open_runs([trained_row(name).run for name in ("table, Q-learning", "mlp, DDPG")])
    assert "`data.environment` is Pendulum-v1, not CliffWalking-v1" in str(reason_not_to_compare(*runs))


def test_differences_of_configs_leave_out_paths_and_devices(copies: list[RunContents]) -> None:
    config = copies[0].config
    data = replace(config.data, train_src=["elsewhere.en"], max_length=99)
    training = replace(config.training, threads=7, max_steps=123)
    other = replace(config, data=data, training=training, seed=5)
    assert {key for key, _, _ in config_differences(config, other)} == {"data.max_length", "training.max_steps", "seed"}


def test_a_run_without_its_data_says_why_it_has_no_predictions(copies: list[RunContents], tmp_path: Path) -> None:
    one, two = copies
    shutil.rmtree(two.folder.cache)
    with patch.object(type(two.config.data), "corpora", side_effect=FileNotFoundError("there is no file x.en")):
        assert two.predictions is None
    assert "could not be predicted" in two.left_out["predictions"]
    assert "there are no predictions of two" in str(reason_not_to_compare(one, two))
