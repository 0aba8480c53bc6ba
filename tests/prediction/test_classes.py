"""Class targets, groups and folds of tables: missing values, and two spellings of one class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import fit_codecs, prepare_examples, read_examples
from seqlab.tasks.prediction.held_out import check_folds

from .conftest import write_csv

ROWS = 60


def config_of(folder: Path, targets: Sequence[Any], **options: Any) -> PredictionConfig:
    path = write_csv(folder / "t.csv", ["x", "y"], [[i, targets[i % len(targets)]] for i in range(ROWS)])
    return PredictionConfig(train=[path], target=["y"], **options)


def fitted(data: PredictionConfig) -> Any:
    return fit_codecs(data, read_examples(data, data.train))


@pytest.mark.parametrize("cell", ["NAN", "-NAN", "n.a.", "N.A.", "(null)", "[NULL]", "<None>", "#N/A N/A", "-1.#IND"])
def test_more_spellings_of_missing_classes_are_refused(cell: str, tmp_path: Path) -> None:
    classes = ["cat", cell, *["cat", "dog"] * 4]
    with pytest.raises(ValueError, match=r"t\.csv, line 3: the target 'y' is missing \(it is .*, and in 5 other rows"):
        fitted(config_of(tmp_path, classes, predicts="class"))
    assert cell in fitted(config_of(tmp_path, classes, predicts="class", missing_targets="class"))[1].values


@pytest.mark.parametrize("cell", ["nil", "none", "Missing", "unknown", "not available"])
def test_words_that_may_stand_for_missing_classes_are_reported(cell: str, tmp_path: Path) -> None:
    data = config_of(tmp_path, ["cat", cell, "dog"], predicts="class")
    notes = prepare_examples(data, fitted(data), tmp_path / "cache").reading.lines()
    assert notes == [f"20 cells of 'y' are the class {cell!r} (the first: {data.train[0]}, line 3)"]


SAME = [["01", "1"], ["1e3", "1000", "x"], ["1.5", "1.50"], ["-0", "0", "2"], ["+1", "1", "2"], ["10", "1E1", "11"]]


@pytest.mark.parametrize("predicts", ["class", "labels"])
@pytest.mark.parametrize("classes", SAME)
def test_two_spellings_of_one_number_are_refused(classes: list[str], predicts: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"t\.csv, line \d: the classes '.*' and '.*' of 'y' are the same value.*codes"
    ):
        fitted(config_of(tmp_path, classes, predicts=predicts))


def test_long_numbers_that_differ_are_two_classes(tmp_path: Path) -> None:
    classes = ["12345678901234567890", "12345678901234567891", "001x", "1x"]
    assert set(fitted(config_of(tmp_path, classes, predicts="class"))[1].values) == set(classes)


@pytest.mark.parametrize("cell", ["", "NaN"])
def test_missing_groups_are_refused(cell: str, tmp_path: Path) -> None:
    rows = [[i, i % 7, cell if i == 5 else f"p{i % 6}"] for i in range(ROWS)]
    path = write_csv(tmp_path / "t.csv", ["x", "y", "patient"], rows)
    folds: dict[str, Any] = {"folds": "grouped", "fold_column": "patient", "num_folds": 2}
    configs = [PredictionConfig(train=[path], target=["y"], **folds, valid_fold=fold) for fold in (1, 2)]
    message = r"t\.csv, line 7: the group in the fold column 'patient' is missing"
    with pytest.raises(ValueError, match=message):
        fitted(configs[0])
    with pytest.raises(ValueError, match=message):
        check_folds(configs)
