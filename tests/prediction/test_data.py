"""Examples of the prediction task: encoding, splits, caches and invalid input."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqlab
from seqlab.data.arrays import ArrayCodec
from seqlab.data.images import read_images
from seqlab.data.table_codec import CategoryColumn, NumberColumn, TableCodec
from seqlab.data.tables import RawTable
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import fit_codecs, prepare_examples, read_examples
from seqlab.tasks.prediction.validation_rows import validation_mask

from .conftest import write_csv


def config(train: str, *target: str, **options: Any) -> PredictionConfig:
    return PredictionConfig(train=[train], target=list(target), **options)


def prepare(data: PredictionConfig, cache: Path) -> Any:
    return prepare_examples(data, fit_codecs(data, read_examples(data, data.train)), cache)


def test_numbers_are_standardized_with_statistics_of_training_rows(table: str, tmp_path: Path) -> None:
    data = config(table, "price", inputs=["size", "age", "city"])
    raw = read_examples(data, data.train)
    codec, target = fit_codecs(data, raw)
    assert isinstance(codec, TableCodec)
    size, _, city = codec.columns
    assert isinstance(size, NumberColumn)
    assert isinstance(city, CategoryColumn)
    assert sorted(city.values) == ["Aachen", "Berlin", "Köln"]
    examples = prepare(data, tmp_path / "cache")
    inputs = examples.train.read(np.arange(len(examples.train)))[:, 0]
    assert inputs.shape == (216, 5)
    assert inputs[:, :2].mean(0) == pytest.approx(0, abs=1e-5)
    assert inputs[:, :2].std(0) == pytest.approx(1, abs=1e-5)
    assert (inputs[:, 2:].sum(1) == 1).all()
    rows = np.flatnonzero(validation_mask(data, raw))
    prices = raw.table.columns["price"].values()[rows]
    assert target.decode(examples.valid.read_targets(np.arange(24)))[:, 0] == pytest.approx(prices, rel=1e-5)
    assert examples.locate(int(examples.valid.rows[3])) == f"{table}, line {rows[3] + 2}"


def test_an_existing_cache_is_not_rewritten(table: str, tmp_path: Path) -> None:
    data = config(table, "price")
    codecs = fit_codecs(data, read_examples(data, data.train))
    first = prepare_examples(data, codecs, tmp_path / "cache")
    [folder] = (tmp_path / "cache").glob("examples-*")
    modified = (folder / "inputs.npy").stat().st_mtime_ns
    second = prepare_examples(data, codecs, tmp_path / "cache")
    assert (folder / "inputs.npy").stat().st_mtime_ns == modified
    assert np.array_equal(first.train.rows, second.train.rows)


def test_windows_of_a_series(tmp_path: Path) -> None:
    """Targets follow their windows by `ahead` rows; validation data are the last rows, or a second file."""
    series = write_csv(tmp_path / "s.csv", ["x"], [[i] for i in range(50)])
    valid_series = write_csv(tmp_path / "v.csv", ["x"], [[i] for i in range(100, 120)])
    data = config(series, "x", window=4, ahead=3, valid_fraction=0.2)
    examples = prepare(data, tmp_path / "one")

    def decode_windows(data: PredictionConfig, split: Any) -> tuple[list[list[int]], list[int]]:
        target, numbers = fit_codecs(data, read_examples(data, data.train))[1], np.arange(len(split))
        inputs = [[round(v) for v in target.decode(row)[:, 0]] for row in split.read(numbers)]
        return inputs, [round(v) for v in target.decode(split.read_targets(numbers))[:, 0]]

    inputs, targets = decode_windows(data, examples.train)
    assert inputs[0] == [0, 1, 2, 3]
    assert targets == list(range(6, 40))
    assert decode_windows(data, examples.valid)[1] == list(range(40, 50))
    data = config(series, "x", window=4, ahead=3, valid=valid_series)
    with_valid_file = prepare(data, tmp_path / "two")
    assert decode_windows(data, with_valid_file.train)[1] == list(range(6, 50))
    assert decode_windows(data, with_valid_file.valid)[0][0] == [100, 101, 102, 103]
    assert decode_windows(data, with_valid_file.valid)[1] == list(range(106, 120))


def test_no_window_spans_two_files(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{n}.csv", ["x"], [[1000 * n + i] for i in range(10)]) for n in range(3)]
    data = replace(config(paths[0], "x", window=4, valid_fraction=0.1), train=paths)
    examples = prepare(data, tmp_path / "cache")
    target = fit_codecs(data, read_examples(data, data.train))[1]
    for split in (examples.train, examples.valid):
        inputs = target.decode(split.read(np.arange(len(split)))[:, :, 0].reshape(-1, 1)).reshape(len(split), 4)
        expected = target.decode(split.read_targets(np.arange(len(split))))
        assert np.allclose(np.diff(np.concatenate([inputs, expected], axis=1)), 1, atol=0.01)
    assert len(examples.train) + len(examples.valid) == 3 * 6


def test_more_than_1000_categories(tmp_path: Path) -> None:
    """Groups and classes may have more than 1,000 names; an unseen category is encoded as zeros."""
    rows = [[i % 3, f"patient {i // 2}", f"class {i % 1200}", ("red", "blue")[i % 2]] for i in range(3600)]
    path = write_csv(tmp_path / "t.csv", ["x", "patient", "class", "colour"], rows)
    data = config(path, "x", inputs=["colour"], folds="grouped", fold_column="patient", num_folds=3, valid_fold=1)
    is_valid = validation_mask(data, read_examples(data, data.train))
    assert 1100 < is_valid.sum() < 1300
    assert (is_valid[::2] == is_valid[1::2]).all()
    data = config(path, "class", inputs=["x"], predicts="class")
    codecs = fit_codecs(data, read_examples(data, data.train))
    assert codecs[1].size == 1200
    table = RawTable.from_records([{"colour": f"{i}"} for i in range(1500)] + [{"colour": "red"}], ["colour"])
    data = config(path, "x", inputs=["colour"])
    encoded = fit_codecs(data, read_examples(data, data.train))[0].encode(table)
    assert encoded[:-1].sum() == 0
    assert encoded[-1].sum() == 1


def test_columns_may_be_in_any_order_in_the_validation_file(tmp_path: Path) -> None:
    rows = [[i, 10 * i, i % 5] for i in range(30)]
    path = write_csv(tmp_path / "t.csv", ["a", "b", "y"], rows)
    records = [dict(zip("aby", row, strict=True)) for row in rows[:20]]
    valid = tmp_path / "v.jsonl"
    valid.write_text("".join(json.dumps({name: each[name] for name in "yba"} | {"id": 1}) + "\n" for each in records))
    data = config(path, "y", valid=str(valid))
    examples = prepare(data, tmp_path / "cache")
    train, held_out = examples.train.read(np.arange(20)), examples.valid.read(np.arange(20))
    assert np.array_equal(train, held_out)


def test_row_numbers_of_pandas_are_no_input(tmp_path: Path) -> None:
    rows = [[i, i % 7, i % 5] for i in range(30)]
    data = config(write_csv(tmp_path / "t.csv", ["Unnamed: 0", "x", "y"], rows), "y")
    assert read_examples(data, data.train).inputs == ["x"]
    [line] = prepare(data, tmp_path / "cache").reading.lines()
    assert line.startswith("1 column(s) of row numbers that pandas wrote are not an input: 'Unnamed: 0' (the first: ")
    data = replace(data, inputs=["Unnamed: 0", "x"])
    assert read_examples(data, data.train).inputs == ["Unnamed: 0", "x"]


def test_named_inputs_need_no_other_keys(tmp_path: Path) -> None:
    lines = [{"x": i, "y": i % 5} | ({"note": "late"} if i > 3 else {}) for i in range(30)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = config(str(path), "y")
    with pytest.raises(
        ValueError, match=r"t\.jsonl, line 5: has 'note', but the first record has not: .*`data\.inputs`"
    ):
        read_examples(data, data.train)
    assert len(read_examples(replace(data, inputs=["x"]), data.train)) == 30


def test_too_many_distinct_numbers_in_a_group_column_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqlab.data.cells.MAX_DISTINCT_NUMBERS", 100)
    path = write_csv(tmp_path / "t.csv", ["x", "y"], [[i, i % 7] for i in range(300)])
    data = config(path, "y", folds="grouped", fold_column="x", num_folds=3, valid_fold=1)
    with pytest.raises(ValueError, match=r"'x' has more than 100 different numbers, too many for categories"):
        validation_mask(data, read_examples(data, data.train))


def test_given_folds_are_in_numeric_order(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ["x", "y", "fold"], [[i, i % 7, i % 10 + 1] for i in range(100)])
    data = config(path, "y", folds="given", fold_column="fold", num_folds=10, valid_fold=2)
    assert np.flatnonzero(validation_mask(data, read_examples(data, data.train))).tolist() == list(range(1, 100, 10))
    path = write_csv(
        tmp_path / "u.csv", ["x", "y", "fold"], [[i, i % 7, "" if i == 5 else 1 + i % 2] for i in range(9)]
    )
    data = replace(data, train=[path])
    with pytest.raises(ValueError, match=r"u\.csv, line 7: the value of the fold column 'fold' is missing"):
        validation_mask(data, read_examples(data, data.train))


def test_an_input_with_the_categories_of_the_target_is_kept(tmp_path: Path) -> None:
    rows = [[("yes", "no")[i // 2 % 2], ("yes", "no")[i % 2]] for i in range(40)]
    data = config(write_csv(tmp_path / "t.csv", ["smoker", "churn"], rows), "churn", predicts="class")
    assert read_examples(data, data.train).inputs == ["smoker"]


def test_arrays_are_standardized_in_double_precision(tmp_path: Path) -> None:
    """Large numbers keep their differences, and a constant column is encoded as zeros."""
    values = np.stack([1e8 + np.arange(40), np.full(40, 0.1)], axis=1)
    codec = ArrayCodec.fit(values, np.arange(40), "x", "images")
    encoded = codec.encode(values, "x")[:, 0]
    assert np.allclose(encoded[:, 0], (np.arange(40) - 19.5) / np.arange(40).std(), atol=1e-6)
    assert np.abs(encoded[:, 1]).max() < 1e-6
    assert np.abs(codec.encode(values + 0.1, "x")[:, 0, 1]).max() < 1
    with pytest.raises(ValueError, match=r"x, row 2: contains NaN or infinity"):
        codec.encode(np.array([[0.0, 0], [1e300, 0]]), "x")


def test_sequences_of_another_length_are_refused() -> None:
    codec = ArrayCodec.fit(np.random.default_rng(1).normal(0, 1, (9, 5, 2)), np.arange(9), "x", "frames")
    with pytest.raises(ValueError, match=r"x: inputs have the shape \(6, 2\), but the model expects \(5, 2\)"):
        codec.encode(np.zeros((3, 6, 2)), "x")


def test_16_bit_images_are_scaled_like_8_bit_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    gray = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    image.fromarray(gray).save(tmp_path / "16.png")
    image.fromarray((gray // 257).astype(np.uint8)).save(tmp_path / "8.png")
    from_16_bit, from_8_bit = read_images([tmp_path / "16.png", tmp_path / "8.png"])
    assert np.abs(from_16_bit - from_8_bit).max() <= 1
    assert from_16_bit.max() > 250


def test_each_row_is_in_one_fold(table: str) -> None:
    masks = []
    for fold in range(1, 6):
        data = config(table, "class", predicts="class", num_folds=5, valid_fold=fold)
        raw = read_examples(data, data.train)
        masks.append(validation_mask(data, raw))
    assert (np.sum(masks, axis=0) == 1).all()
    is_dear = raw.table.columns["class"].categories() == raw.table.columns["class"].names["dear"]
    assert np.ptp([(mask & is_dear).sum() for mask in masks]) <= 1


def test_grouped_and_given_folds(tmp_path: Path) -> None:
    rows = [[i, i % 7, i % 3, i * 2] for i in range(60)]
    path = write_csv(tmp_path / "g.csv", ["x", "group", "fold", "y"], rows)
    data = config(path, "y", folds="grouped", fold_column="group", num_folds=3, valid_fold=2)
    raw = read_examples(data, data.train)
    groups = raw.table.columns["group"].values()
    assert not set(groups[validation_mask(data, raw)]) & set(groups[~validation_mask(data, raw)])
    assert raw.inputs == ["x", "fold"]
    data = config(path, "y", folds="given", fold_column="fold", num_folds=3, valid_fold=3)
    assert raw.table.columns["fold"].values()[validation_mask(data, raw)].tolist() == [2.0] * 20


def test_validation_examples_that_equal_a_training_example_are_reported(tmp_path: Path) -> None:
    rows = [[i % 10, i % 2, (i % 10) * 2 if i < 30 else 99 + i] for i in range(40)]
    data = config(write_csv(tmp_path / "t.csv", ["x", "z", "y"], rows), "y", num_folds=4, valid_fold=2)
    examples = prepare(data, tmp_path / "cache")
    held_out = [int(row) for row in examples.valid.rows]
    expected = [row for row in held_out if any(rows[row] == rows[other] for other in examples.train.rows)]
    assert len(expected) > 3
    [note] = prepare(data, tmp_path / "cache").reading
    assert (note.count, note.first) == (len(expected), examples.locate(expected[0]))
    assert note.text == "validation examples equal a training example in inputs and target"
    grouped = config(data.train[0], "y", folds="grouped", fold_column="x", num_folds=4, valid_fold=2, inputs=["z"])
    assert not list(prepare(grouped, tmp_path / "grouped").reading)
    series = config(data.train[0], "y", window=2)
    assert not list(prepare(series, tmp_path / "series").reading)


COLUMNS = ["a", "b", "y"]
VALID_ROWS = [[i, f"v{i % 3}", i % 5] for i in range(40)]
INVALID: dict[str, tuple[list[str], list[list[Any]], dict[str, Any], str]] = {
    "missing column": (COLUMNS, VALID_ROWS, {"target": ["z"]}, r"t\.csv: has no column 'z', only a, b, y"),
    "missing number": (COLUMNS, [*VALID_ROWS, ["", "v1", 2]], {}, r"t\.csv, line 42: 'a' is missing: correct the cell"),
    "not a number": (
        COLUMNS,
        [*VALID_ROWS, ["x7", "v1", 2]],
        {},
        r"t\.csv, line 42: 'a' is 'x7', but most cells .* numbers",
    ),
    "infinite": (COLUMNS, [*VALID_ROWS, ["inf", "v1", 2]], {}, r"t\.csv, line 42: 'a' is 'inf', but most"),
    "NaN": (COLUMNS, [*VALID_ROWS, ["NaN", "v1", 2]], {}, r"t\.csv, line 42: 'a' is missing"),
    "missing target": (COLUMNS, [*VALID_ROWS, [1, "v1", ""]], {}, r"t\.csv, line 42: 'y' is missing"),
    "missing class": (
        COLUMNS,
        [*VALID_ROWS, [1, "v1", ""]],
        {"predicts": "class"},
        r"line 42: the target 'y' is missing",
    ),
    "names as numbers": (COLUMNS, VALID_ROWS, {"target": ["b"]}, r"needs numbers, but the column 'b' has 'v0'"),
    "one class": (
        COLUMNS,
        [[i, "v", 1] for i in range(9)],
        {"predicts": "class"},
        r"target 'y' is '1' in all",
    ),
    "one number": (COLUMNS, [[i, "v", 1] for i in range(9)], {}, r"target 'y' is 1 in all training rows"),
    "the target among the inputs": (
        [*COLUMNS, "c"],
        [[*row, row[2]] for row in VALID_ROWS],
        {},
        r"the column 'c' equals the target 'y' in all rows",
    ),
    "identifiers": (
        COLUMNS,
        [[i, f"id{i}", i % 5] for i in range(1200)],
        {},
        r"column 'b' has more than 1,000 different values",
    ),
    "labels": (
        COLUMNS,
        [[i, i % 2, i % 3] for i in range(9)],
        {"target": ["b", "y"], "predicts": "labels"},
        r"line 4: 'y' must be 1 if the row has this label",
    ),
    "too large a number": (
        COLUMNS,
        [*VALID_ROWS, ["1e300", "v1", 2]],
        {},
        "column 'a' has numbers that are too large",
    ),
    "a label with a space": (
        ["a", "is big", "y"],
        [[i, i % 2, 1 - i % 2] for i in range(20)],
        {"target": ["is big", "y"], "predicts": "labels"},
        "label 'is big' has a space",
    ),
    "numbers as classes": (
        COLUMNS,
        [[i, "v", i * 1.5] for i in range(30)],
        {"predicts": "class"},
        "too many to be classes",
    ),
    "more given folds": (
        COLUMNS,
        VALID_ROWS,
        {"folds": "given", "fold_column": "b", "num_folds": 2, "valid_fold": 1},
        "column 'b' names 3 folds, but `data.num_folds` .* is 2: set it to 3",
    ),
    "one row": (COLUMNS, VALID_ROWS[6:7], {}, "needs at least 2 training examples, but has 1"),
    "too few for folds": (COLUMNS, VALID_ROWS[2:7], {"valid_fold": 1}, "There are 5 rows, too few for 10 folds"),
    "no row": (COLUMNS, [], {}, r"t\.csv: there are no rows after the header"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_input_is_reported_with_its_location(name: str, tmp_path: Path) -> None:
    header, rows, options, message = INVALID[name]
    path = write_csv(tmp_path / "t.csv", header, rows)
    data = PredictionConfig(train=[path], **({"target": ["y"]} | options))
    with pytest.raises(ValueError, match=message):
        prepare(data, tmp_path / "cache")


def test_constant_inputs_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(tmp_path / "t.csv", ["a", "b", "c", "y"], [[i, 5, "v", i % 5] for i in range(40)])
    data = config(path, "y")
    fit_codecs(data, read_examples(data, data.train))
    assert [record.args for record in caplog.records] == [(path, "b"), (path, "c")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ["y"], "inputs": ["x", "y"]}, "both name 'y': a target cannot be an input"),
        ({"folds": "grouped"}, "needs a column with groups or folds"),
        ({"fold_column": "g"}, "requires `folds: grouped`"),
        ({"folds": "grouped", "fold_column": "g", "inputs": ["x", "g"]}, "both name 'g': a fold cannot be an input"),
        ({"inputs": ["x", "x"]}, "`inputs` names 'x' 2 times"),
        ({"valid": "v.csv", "valid_fold": 1}, "both choose the validation data"),
        ({"valid_fold": 11}, r"`valid_fold` \(11\) must be at most `num_folds` \(10\)"),
        ({"ahead": 2}, "`ahead` is for time series"),
        ({"window": 3, "valid_fold": 1}, "has no folds"),
        ({"folds": "stratified"}, "needs `predicts: class`, but it is `numbers`"),
    ],
)
def test_contradictory_fields_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictionConfig(train=["t.csv"], **options)


def test_validation_data_with_a_missing_column_are_refused(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "t.csv", ["x", "z", "y"], [[i, i % 3, i % 5] for i in range(20)])
    valid = write_csv(tmp_path / "v.csv", ["x", "y"], [[1, 2], [2, 3]])
    with pytest.raises(ValueError, match=r"v\.csv: has no column 'z', only x, y"):
        prepare(config(train, "y", valid=valid), tmp_path / "cache")


def test_nan_and_complex_arrays_are_refused(tmp_path: Path) -> None:
    values = np.ones((20, 3))
    values[4, 1] = np.nan
    np.savez(tmp_path / "a.npz", x=values, y=np.arange(20))
    with pytest.raises(ValueError, match=r"a\.npz, row 5: contains NaN or infinity"):
        prepare(PredictionConfig(train=[str(tmp_path / "a.npz")]), tmp_path / "cache")
    np.savez(tmp_path / "b.npz", x=np.ones((20, 3)) * 1j, y=np.arange(20))
    with pytest.raises(ValueError, match=r"b\.npz: inputs must be numbers, but have the type complex128"):
        prepare(PredictionConfig(train=[str(tmp_path / "b.npz")]), tmp_path / "cache")


def test_paths_determine_the_kind_of_data(table: str, tmp_path: Path) -> None:
    """A file of arrays, a folder of images or a table holds examples; a column of a table is text."""
    np.savez(tmp_path / "t.npz", x=np.arange(200.0).reshape(50, 4), y=np.arange(50) % 2)
    config = seqlab.config_for({"data.train": tmp_path / "t.npz"})
    assert isinstance(config.data, PredictionConfig)
    with pytest.raises(ValueError, match=r"name the column to predict by `data.target`; to train on the text"):
        seqlab.config_for({"data.train": table})
    assert seqlab.config_for({"data.train": f"{table}#city"}).data.kind == "language_modelling"
    with pytest.raises(ValueError, match=r"t\.npz contains arrays or images, but .*\.csv is a table"):
        seqlab.config_for({"data.train": [table, tmp_path / "t.npz"], "data.target": "y"})


def test_unseen_classes_are_counted_and_shown_as_question_marks(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "t.csv", ["x", "y"], [[i, "ab"[i % 2]] for i in range(20)])
    valid = write_csv(tmp_path / "v.csv", ["x", "y"], [[1, "a"], [2, "c"]])
    data = config(train, "y", predicts="class", valid=valid)
    examples = prepare(data, tmp_path / "cache")
    assert examples.report.unseen == 1
    target = fit_codecs(data, read_examples(data, data.train))[1]
    assert target.lines(examples.valid.read_targets(np.arange(2))) == ["a", "?"]
