"""Class targets, groups and folds of tables: missing values, and two spellings of one class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import fit_codecs, prepare_examples, read_examples
from seqlab.tasks.prediction.validation_rows import check_folds
from seqlab.training import train

from .conftest import tiny, write_csv

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


SAME = [
    *(["01", "1"], ["1e3", "1000", "x"], ["1.5", "1.50"], ["-0", "0", "2"], ["+1", "1", "2"], ["10", "1E1", "11"]),
    *(["1", "١", "2"], ["-1", "−1", "2"], ["5%", "05%", "2%"], ["1,5", "1.5", "2"]),
]


@pytest.mark.parametrize("predicts", ["class", "labels"])
@pytest.mark.parametrize("classes", SAME)
def test_two_spellings_of_one_number_are_refused(classes: list[str], predicts: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"t\.csv, line \d: the classes '.*' and '.*' of 'y' are the same value.*codes"
    ):
        fitted(config_of(tmp_path, classes, predicts=predicts))


def test_numbers_and_codes_that_differ_are_two_classes(tmp_path: Path) -> None:
    classes = ["12345678901234567890", "12345678901234567891", "001x", "1x", "5", "5%", "$5", "1.0.0", "1.0"]
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


def test_two_spellings_of_a_group_or_fold_are_refused(tmp_path: Path) -> None:
    rows = [[i, i % 7, ("1", "1.0", "2")[i % 3]] for i in range(ROWS)]
    path = write_csv(tmp_path / "t.csv", ["x", "y", "g"], rows)
    for kind in ("grouped", "given"):
        data = PredictionConfig(train=[path], target=["y"], folds=kind, fold_column="g", num_folds=3, valid_fold=1)
        with pytest.raises(ValueError, match=r"t\.csv, line 3: the values '1' and '1\.0' of 'g' are the same value"):
            fitted(data)


@pytest.mark.parametrize(
    ("classes", "valid_classes"),
    [(["0", "1"], ["0.0", "1.0"]), (["yes", "no"], ["yes", "No"]), (["1", "2"], ["2", "01"])],
)
def test_classes_in_another_spelling_in_validation_are_refused(
    classes: list[str], valid_classes: list[str], tmp_path: Path
) -> None:
    valid = write_csv(tmp_path / "v.csv", ["x", "y"], [[i, valid_classes[i % 2]] for i in range(6)])
    data = config_of(tmp_path, classes, predicts="class", valid=valid)
    with pytest.raises(ValueError, match=r"v\.csv, line [23]: the classes '.*' of 'y' are the same value"):
        prepare_examples(data, fitted(data), tmp_path / "cache")


def test_validation_without_a_known_class_is_refused(tmp_path: Path) -> None:
    valid = write_csv(tmp_path / "v.csv", ["x", "y"], [[i, "ab"[i % 2]] for i in range(6)])
    config = tiny(config_of(tmp_path, ["A", "B"]).train[0], "y", "class", inputs=["x"], valid=valid)
    with pytest.raises(
        ValueError, match=r"No class of the validation set is in the training data \(.*v\.csv, line 2\)"
    ):
        train(config, tmp_path / "run")
