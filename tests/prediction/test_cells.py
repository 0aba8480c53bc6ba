"""Cells as people write them: one number format per column, categories, missing values, or a refusal by name."""

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqlab
from seqlab.data.table_codec import CategoryColumn, NumberColumn, TableCodec, load_table_codec
from seqlab.data.tables import RawTable
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import PreparedExamples, fit_codecs, prepare_examples, read_examples

from .conftest import write_csv

ROWS = 60
AMOUNTS = [round(500 + 137.5 * i, 1) for i in range(ROWS)]
WHOLE = [500 + 137 * i for i in range(ROWS)]
SWAP = str.maketrans(",.", ".,")
ARABIC = str.maketrans("0123456789.", "٠١٢٣٤٥٦٧٨٩٫")
WIDE = str.maketrans("0123456789-", "０１２３４５６７８９－")


def table_of(folder: Path, cells: Sequence[Any], targets: Sequence[Any] | None = None) -> str:
    rows = [[cell, i, (1.5 * i if targets is None else targets[i])] for i, cell in enumerate(cells)]
    return write_csv(folder / "t.csv", ["x", "z", "y"], rows)


def fitted(path: str, **options: Any) -> tuple[Any, Any]:
    data = PredictionConfig(train=[path], target=["y"], **options)
    return fit_codecs(data, read_examples(data, data.train))


def prepared(path: str, cache: Path, **options: Any) -> PreparedExamples:
    data = PredictionConfig(train=[path], target=["y"], **options)
    return prepare_examples(data, fit_codecs(data, read_examples(data, data.train)), cache)


FORMATS: dict[str, tuple[list[str], list[float]]] = {
    "1,234.5": ([f"{each:,}" for each in AMOUNTS], AMOUNTS),
    "1.234,5": ([f"{each:,}".translate(SWAP) for each in AMOUNTS], AMOUNTS),
    "1.234.567": ([f"{1000 * each + 7:,}".translate(SWAP) for each in WHOLE], [1000 * each + 7 for each in WHOLE]),
    "1 234.5": ([f"{each:,}".replace(",", " ") for each in AMOUNTS], AMOUNTS),
    "1 234,5": ([f"{each:,}".replace(",", " ").replace(".", ",") for each in AMOUNTS], AMOUNTS),
    "no-break spaces": ([f"{each:,}".replace(",", "\u202f") for each in AMOUNTS], AMOUNTS),
    "1'234.5": ([f"{each:,}".replace(",", "'") for each in AMOUNTS], AMOUNTS),
    "2,155 and 6": (["2,155", "6", "12"] * 20, [2155.0, 6, 12] * 20),
    "2.155 and 6.000": (["2.155", "6.000", "12.500"] * 20, [2.155, 6, 12.5] * 20),
    "2.155, 2.5 and 6": (["2.155", "2.5", "6"] * 20, [2.155, 2.5, 6] * 20),
    "1,234 and 500": ([f"{each:,}" for each in WHOLE], list(map(float, WHOLE))),
    "12,34,567": (["12,34,567", "500", "99,999", "1,00,000"] * 15, [1234567.0, 500, 99999, 100000] * 15),
    "decimal comma": ([str(each).replace(".", ",") for each in AMOUNTS], AMOUNTS),
    "12%": ([f"{i}%" for i in range(ROWS)], [float(i) for i in range(ROWS)]),
    "Arabic percent": ([f"{i}٪".translate(ARABIC) for i in range(ROWS)], [float(i) for i in range(ROWS)]),
    "12.5 %": ([f"{i}.5 %" for i in range(ROWS)], [i + 0.5 for i in range(ROWS)]),
    "$1,234": ([f"${each:,}" for each in WHOLE], list(map(float, WHOLE))),
    "-$5.50": ([f"-${i}.50" for i in range(ROWS)], [-i - 0.5 for i in range(ROWS)]),
    "EUR 5": ([f"EUR {i}" for i in range(ROWS)], [float(i) for i in range(ROWS)]),
    "3,50 €": ([f"{i},50 €" for i in range(ROWS)], [i + 0.5 for i in range(ROWS)]),
    "5 kg": ([f"{i} kg" for i in range(ROWS)], [float(i) for i in range(ROWS)]),
    "21.5°C": ([f"{i}.5°C" for i in range(ROWS)], [i + 0.5 for i in range(ROWS)]),
    "Arabic digits": ([str(each).translate(ARABIC) for each in AMOUNTS], AMOUNTS),
    "wide digits and minus": ([str(-i).translate(WIDE) for i in range(ROWS)], [float(-i) for i in range(ROWS)]),
    "a minus sign": ([f"−{i + 1}" for i in range(ROWS)], [-i - 1.0 for i in range(ROWS)]),
    "signs and exponents": (["+5", "-2e3", "1E-2", ".5", "6."] * 12, [5, -2000, 0.01, 0.5, 6] * 12),
    "spellings of truth": (["Yes", "no", "yes", "N", "Y", "No"] * 10, [1.0, 0, 1, 0, 1, 0] * 10),
    "truth and 1 or 0": (["on", "0", "1", "OFF"] * 15, [1.0, 0, 1, 0] * 15),
}


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_are_read_in_the_format_of_their_column(name: str, tmp_path: Path) -> None:
    cells, expected = FORMATS[name]
    order = random.Random(3).sample(range(ROWS), ROWS)  # so that no other column equals this one
    cells, expected = [cells[i] for i in order], [expected[i] for i in order]
    codec = fitted(table_of(tmp_path, cells), inputs=["x"])[0]
    [column] = codec.columns
    assert isinstance(column, NumberColumn)
    encoded = codec.encode(RawTable.read([str(tmp_path / "t.csv")]))[:, 0].astype(np.float64)
    assert encoded * column.deviation + column.mean == pytest.approx(expected, abs=1e-6 * column.deviation)
    for cell, number in zip(cells[:5], expected, strict=False):  # one new cell tells nothing about its format
        [[again]] = codec.encode(RawTable.from_records([{"x": cell}], ["x"]))
        assert again * column.deviation + column.mean == pytest.approx(number, abs=1e-6 * column.deviation)


def test_numbers_in_python_and_json_have_the_format_of_programs(tmp_path: Path) -> None:
    codec = fitted(table_of(tmp_path, FORMATS["1.234,5"][0]), inputs=["x"])[0]
    codec.save(tmp_path)
    for each in (codec, load_table_codec(tmp_path)):
        values: list[Any] = ["1.234", 1234, np.float32(1234), Decimal(1234), "1,5", 1.5, np.float32(1.5)]
        found = [each.encode(RawTable.from_records([{"x": x}], ["x"])).item() for x in values]
        assert len(set(found[:4])) == len(set(found[4:])) == 1


@pytest.mark.parametrize("cell", ["1234.5", "5 %", "a", "-", ""])
def test_new_cells_in_another_format_are_refused(cell: str, tmp_path: Path) -> None:
    codec = fitted(table_of(tmp_path, FORMATS["1.234,5"][0]), inputs=["x"])[0]
    fault = "is missing" if cell in ("-", "") else f"must be a number like 1.234,5, but is '{cell}'"
    with pytest.raises(ValueError, match=f"`examples`, entry 2: 'x' {fault}"):
        codec.encode(RawTable.from_records([{"x": "1,5"}, {"x": cell}], ["x"]))


CATEGORIES = {
    "postal codes": [f"{37 * i:05}" for i in range(ROWS)],
    "country codes": ["NA", "DE", "FR", "US"] * 15,
    "surnames": ["Null", "Smith", "None", "Ng"] * 15,
    "generations": ["3G", "4G", "5G"] * 20,
    "ranges": ["18-25", "26-35", ">35", "<=17"] * 15,
    "ordinals": ["1st", "2nd", "3rd"] * 20,
    "addresses": [f"10.0.0.{i}" for i in range(ROWS)],
    "phones": [f"+49 151 {1000 + i}" for i in range(ROWS)],
    "numbers before words": [f"{i} {('Idiots', 'Monkeys', 'Up', 'Days', 'Years')[i % 5]}" for i in range(ROWS)],
    "seasons": ["2012 Summer", "2014 Winter", "2016 Summer"] * 20,
    "letters that are no truth values": ["N", "F", "T"] * 20,
    "one truth value": ["n", "no", "N"] * 20,
    "yes and no": ["yes", "no"] * 30,
    "numbers among texts": ["2", "3", "more", "many"] * 15,
    "scores": ["2:1", "0:0", "10:3"] * 20,
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_codes_and_names_are_categories(name: str, tmp_path: Path) -> None:
    cells = CATEGORIES[name]
    codec = fitted(table_of(tmp_path, cells), inputs=["x"], valid=table_of(tmp_path, cells))[0]
    [column] = codec.columns
    assert isinstance(column, CategoryColumn)
    assert sorted(column.values) == sorted(set(cells))


REFUSED = {
    "numbers in apostrophes": ([f"'{i}.5'" for i in range(ROWS)], "must be finite, in one format"),
    "text markers of Excel": ([f"'{i}" for i in range(ROWS)], "must be finite, in one format"),
    "formulas of Excel": ([f'="{i:03}"' for i in range(ROWS)], "must be finite, in one format"),
    "fractions": ([f"{i}\u00bd" for i in range(ROWS)], "must be finite, in one format"),
    "powers": ([f"{i}\u00b2" for i in range(ROWS)], "must be finite, in one format"),
    "dates": ([f"2024-01-{1 + i % 28:02}" for i in range(ROWS)], "'2024-01-01', a date or time"),
    "times stamps": ([f"2024-01-01T00:{i:02}:00Z" for i in range(ROWS)], "a date or time"),
    "American dates": ([f"{1 + i % 12}/{1 + i % 28}/2024" for i in range(ROWS)], "'1/1/2024', a date or time"),
    "German dates": ([f"{1 + i % 28}.12.2024" for i in range(ROWS)], "a date or time"),
    "dates in words": ([f"Jan {1 + i % 28}, 2024" for i in range(ROWS)], "a date or time"),
    "months in words": ([f"Dec-{1960 + i}" for i in range(ROWS)], "'Dec-1960', a date or time"),
    "times": ([f"{i % 24:02}:30" for i in range(ROWS)], "'00:30', a date or time"),
    "months with underscores": ([f"20{10 + i // 12}_{1 + i % 12:02}" for i in range(ROWS)], "a date or time"),
    "ambiguous commas": ([f"{1000 + 137 * i:,}" for i in range(ROWS)], "'1,000': the comma may separate thousands"),
    "ambiguous points": ([f"{100 + 137 * i:,}".replace(",", ".") for i in range(ROWS)], "'1.470': the point may"),
    "few points": (["2.155", "6", "1.234", "12", "850"] * 12, r"'2.155': the point .*'6\.000'"),
    "quarters": ([f"{1960 + i}Q{1 + i % 4}" for i in range(ROWS)], "'1960Q1', a date or time"),
    "weeks": ([f"2024-W{1 + i % 52:02}" for i in range(ROWS)], "'2024-W01', a date or time"),
    "ambiguous spaces": ([f"{100 + i} 255 128" for i in range(ROWS)], "'100 255 128', which may be one number"),
    "both decimal signs": ([f"{i}.5" if i % 2 else f"{i},5" for i in range(ROWS)], "in one format"),
    "two currencies": ([f"${i}" if i % 2 else f"€{i}" for i in range(ROWS)], "with one unit"),
    "two units": ([f"{i} kg" if i % 2 else f"{1000 * i} g" for i in range(ROWS)], "with one unit"),
    "percent and shares": (["12%" if i % 2 else f"0.{i:02}" for i in range(ROWS)], "with one unit"),
    "mostly infinite": (["inf" if i % 3 else str(i) for i in range(ROWS)], "'inf', but the numbers .* must be finite"),
    "hexadecimal": ([hex(i) for i in range(ROWS)], "'0x0', but the numbers"),
    "codes with an E": ([f"{i}E{i % 5}" for i in range(ROWS)], "'0E0', which may be a code or a number"),
    "thousands and millions": ([f"${i}K" if i % 2 else f"${i}M" for i in range(ROWS)], "with one unit"),
    "few prices": (["$1.2M", "$500K", "$2M", "$3K"] * 15, "with one unit"),
    "durations": ([f"{i}h {i % 60}m" for i in range(ROWS)], "'0h 0m', but the numbers"),
    "durations of pandas": ([f"{i} days 00:0{i % 10}:00" for i in range(ROWS)], "'0 days 00:00:00', but the numbers"),
    "durations of Python": ([str(timedelta(hours=i)) for i in range(ROWS)], "'1 day, 0:00:00', but the|a date or time"),
    "durations of ISO 8601": ([f"PT{i}H5.5S" for i in range(ROWS)], "'PT0H5.5S', but the numbers"),
    "coordinates": ([f"48°{i}'N" for i in range(ROWS)], "but the numbers of a column"),
    "pairs of coordinates": ([f"48°{i}′30″ N, 11°{i}′ E" for i in range(ROWS)], "'48°0′30″ N, 11°0′ E', but the numb"),
    "lists": ([f"[{i}, {i % 4}]" for i in range(ROWS)], "several numbers: give each of them a column of its own"),
    "lists of numpy": ([f"[{i}.5\n 2.]" for i in range(ROWS)], "several numbers: give each of them a column"),
    "pairs of decimals": ([f"{i}.5 -2.25" for i in range(ROWS)], "several numbers: give each of them a column"),
    "Fortran": ([f"{i}.5D+01" for i in range(ROWS)], "'0.5D[+]01', but the numbers"),
    "accounting": ([f"({i}.50)" if i % 3 else f"{i}.50" for i in range(ROWS)], r"'\(1.50\)'"),
    "half text": (["error" if i % 5 < 3 else str(1.5 * i) for i in range(ROWS)], "'error', but other cells"),
    "half text, whole": (["n.d." if i % 5 < 3 else str(i) for i in range(ROWS)], "'n.d.', but other cells"),
    "a truth value": (["TRUE" if i == 7 else str(i) for i in range(ROWS)], "'TRUE', but most cells .* are numbers"),
    "long ids": ([str(12345678901234567000 + i) for i in range(ROWS)], "differs from 12345678901234567000 by less"),
    "a dash": (["-" if i == 7 else str(i / 2) for i in range(ROWS)], "missing"),
    "a question mark": (["?" if i == 7 else str(i / 2) for i in range(ROWS)], "missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_columns_that_are_neither_numbers_nor_categories_are_refused(name: str, tmp_path: Path) -> None:
    cells, message = REFUSED[name]
    with pytest.raises(ValueError, match=rf"t\.csv, line \d+: 'x' is .*{message}"):
        fitted(table_of(tmp_path, cells), inputs=["x"])
    if "missing" not in message:
        path = table_of(tmp_path, cells)
        column = fitted(path, inputs=["x"], categorical=["x"], valid=path)[0].columns[0]
        assert set(column.values) == set(cells)


MISSING = ["NaN", "nan", "NA", "N/A", "null", "NULL", "None", "-", "?", "#N/A", "<NA>", "NaT", "\\N"]


@pytest.mark.parametrize("cell", MISSING)
def test_missing_classes_are_refused_unless_they_are_meant(cell: str, tmp_path: Path) -> None:
    path = table_of(tmp_path, range(ROWS), [cell if i % 10 == 0 else ("cat", "dog")[i % 2] for i in range(ROWS)])
    with pytest.raises(ValueError, match=r"t\.csv, line 2: the target 'y' is missing .*, and in 5 other rows"):
        fitted(path, predicts="class")
    assert cell in fitted(path, predicts="class", missing_targets="class")[1].values


@pytest.mark.parametrize("cell", MISSING)
def test_missing_labels_and_folds_are_refused(cell: str, tmp_path: Path) -> None:
    labels = ["" if i % 3 else cell if i % 10 == 0 else "a b" for i in range(ROWS)]
    with pytest.raises(ValueError, match=r"line 2: the target 'y' is missing"):
        fitted(table_of(tmp_path, range(ROWS), labels), predicts="labels")
    folds = [cell if i == 5 else i % 2 for i in range(ROWS)]
    with pytest.raises(ValueError, match=r"line 7: the value of the fold column 'x' is missing"):
        fitted(table_of(tmp_path, folds), folds="given", fold_column="x", num_folds=2, valid_fold=1)


def test_a_missing_class_in_the_validation_file_is_refused(tmp_path: Path) -> None:
    classes = [("cat", "dog")[i % 2] for i in range(ROWS)]
    path = table_of(tmp_path, range(ROWS), classes)
    (tmp_path / "valid").mkdir()
    valid = table_of(tmp_path / "valid", range(ROWS), ["null", *classes[1:]])
    with pytest.raises(ValueError, match=r"valid/t\.csv, line 2: the target 'y' is missing"):
        prepared(path, tmp_path / "cache", predicts="class", valid=valid)


@pytest.mark.parametrize(
    "classes",
    [["NA", "DE", "US"], ["Null", "Smith", "Ng"], ["N", "F", "T"], ["none", "mild", "severe"], ["+", "-", "+"]],
)
def test_classes_that_look_like_missing_values_but_are_meant(classes: list[str], tmp_path: Path) -> None:
    path = table_of(tmp_path, range(ROWS), classes * 20)
    assert fitted(path, predicts="class")[1].values == sorted(set(classes))
    meant = [cell for cell in ("NA", "Null", "none", "-") if cell in classes]
    report = [
        f"20 cells of 'y' are the class {cell!r} (the first: {path}, line {classes.index(cell) + 2})" for cell in meant
    ]
    assert prepared(path, tmp_path / "cache", predicts="class").reading.lines() == report


def test_a_missing_class_among_other_abbreviations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the target 'y' is missing"):
        fitted(table_of(tmp_path, range(ROWS), ["HI", "LO", "NA"] * 20), predicts="class")


@pytest.mark.parametrize(
    "classes",
    [["1", "0", "1.0"], ["True", "False", "true"], ["Yes", "no", "Y"]],
)
def test_two_spellings_of_one_class_are_refused(classes: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line \d: the classes '.*' and '.*' of 'y' are the same value"):
        fitted(table_of(tmp_path, range(ROWS), classes * 20), predicts="class")


def test_labels_may_be_given_by_words(tmp_path: Path) -> None:
    """One column of yes and no per label; exactly one yes in each row makes them classes."""
    rows = [[i, "yes" if i % 2 else "no", ("T", "F", "F")[i % 3]] for i in range(ROWS)]
    path = write_csv(tmp_path / "t.csv", ["z", "odd", "third"], rows)
    config = seqlab.config_for({"data.train": path, "data.target": ["odd", "third"]})
    assert isinstance(config.data, PredictionConfig)
    assert config.data.predicts == "labels"
    target = fit_codecs(config.data, read_examples(config.data, [path]))[1]
    expected = [[i % 2, i % 3 == 0] for i in range(ROWS)]
    assert target.encode(RawTable.read([path])).tolist() == expected


@pytest.mark.parametrize("name", ["dates", "both decimal signs", "half text", "two units", "ambiguous commas"])
def test_such_targets_are_not_chosen_to_be_classes(name: str, tmp_path: Path) -> None:
    path = table_of(tmp_path, range(ROWS), REFUSED[name][0])
    with pytest.raises(ValueError, match=rf"t\.csv, line \d+: 'y' is .*{REFUSED[name][1]}"):
        seqlab.config_for({"data.train": path, "data.target": "y"})


@pytest.mark.parametrize("name", ["1,234.5", "decimal comma", "3,50 €", "12%"])
def test_formatted_targets_are_predicted_as_numbers(name: str, tmp_path: Path) -> None:
    cells, expected = FORMATS[name]
    path = table_of(tmp_path, [i % 7 for i in range(ROWS)], cells)
    config = seqlab.config_for({"data.train": path, "data.target": "y", "data.inputs": "x"})
    assert isinstance(config.data, PredictionConfig)
    assert config.data.predicts == "numbers"
    examples = prepared(path, tmp_path / "cache", inputs=["x"], valid=path)
    assert examples.train.read_references(np.arange(ROWS))[:, 0].tolist() == expected


def test_the_report_names_what_was_converted(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "t.csv",
        ["price", "zip", "city", "y"],
        [[f"{each:,}", f"{i:03}", "" if i == 4 else "Bonn", f"{i}%"] for i, each in enumerate(WHOLE)],
    )
    for _ in range(2):  # the second time from the cache
        lines = prepared(path, tmp_path / "cache").reading.lines()
        assert lines == [
            f"60 cells of 'price' are read as numbers like 1,234.5 (the first: '1,048', {path}, line 6)",
            f"60 cells of 'zip' are codes with leading zeros, read as categories (the first: '000', {path}, line 2)",
            f"1 missing cells of 'city' (empty) are a category (the first: {path}, line 6)",
            f"60 cells of 'y' are read as numbers like 1234.5% (the first: '0%', {path}, line 2)",
        ]


def test_the_report_names_categories_that_may_not_be_meant(tmp_path: Path) -> None:
    cities = ["Köln", "köln", "Ko\u0308ln", "Bonn"]
    path = write_csv(tmp_path / "t.csv", ["ratio", "city", "y"], [[f"{i}/80", cities[i % 4], i] for i in range(ROWS)])
    digits = "cells of 'ratio' have digits but are not numbers, and are read as categories"
    similar = "categories of 'city' differ from another only in case, spaces or invisible characters"
    assert prepared(path, tmp_path / "cache").reading.lines() == [
        f"60 {digits} (the first: '0/80', {path}, line 2)",
        rf"2 {similar} (the first: 'K\xf6ln' and 'k\xf6ln' and 'Ko\u0308ln', {path}, line 3)",
    ]


def test_a_codec_of_an_earlier_version_reads_as_it_was_trained(tmp_path: Path) -> None:
    """As Python reads numbers, with true as 1, without a format."""
    columns = [{"name": "x", "mean": 0.0, "deviation": 1.0}, {"name": "c", "values": ["007", "1,5"]}]
    (tmp_path / "codec.values.json").write_text(json.dumps({"window": 0, "columns": columns}), "utf-8")
    codec = load_table_codec(tmp_path)
    assert isinstance(codec, TableCodec)
    records = [{"x": x, "c": c} for x, c in (("1_000", "007"), ("TRUE", "1,5"), ("007", "7"), ("１２", "NA"))]
    found = codec.encode(RawTable.from_records(records, ["x", "c"])).tolist()
    assert found == [[1000, 1, 0], [1, 0, 1], [7, 0, 0], [12, 0, 0]]


def test_unknown_categories_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    codec = fitted(table_of(tmp_path, ["a", "b"] * 30), inputs=["x"])[0]
    records = [{"x": x} for x in "acbdc"]
    assert codec.encode(RawTable.from_records(records, ["x"])).sum(1).tolist() == [1, 0, 1, 0, 0]
    text = "3 cells of 'x' are not in the training data and are encoded as zeros (the first: 'c', `examples`, entry 2)"
    assert text in caplog.text


@pytest.mark.parametrize("cell", ["1.5", "maybe", 5, 1.5])
def test_other_cells_of_a_column_of_truth_values_are_refused(cell: Any, tmp_path: Path) -> None:
    codec = fitted(table_of(tmp_path, FORMATS["spellings of truth"][0]), inputs=["x"])[0]
    records = [{"x": x} for x in ("yes", "No", 1, 0, True)]
    assert len(np.unique(codec.encode(RawTable.from_records(records, ["x"])))) == 2
    message = rf"`examples`, entry 2: 'x' must be yes or no \(or true/false, 1/0\), but is '{cell}'"
    with pytest.raises(ValueError, match=message):
        codec.encode(RawTable.from_records([{"x": "yes"}, {"x": cell}], ["x"]))


def test_a_run_that_reads_row_numbers_of_pandas_reads_them_in_the_validation_file(tmp_path: Path) -> None:
    """Version 0.3.0 took them for an input."""
    path = tmp_path / "t.csv"
    path.write_text("Unnamed: 0,x,y\n" + "".join(f"{i},{i * i % 7},{i % 5}\n" for i in range(ROWS)), "utf-8")
    older = fitted(str(path), inputs=["Unnamed: 0", "x"])
    data = PredictionConfig(train=[str(path)], valid=str(path), target=["y"], predicts="numbers")
    examples = prepare_examples(data, older, tmp_path / "cache")
    assert examples.valid.inputs.shape[-1] == 2
    path.write_text(path.read_text("utf-8").replace("Unnamed: 0", "a.b"), "utf-8")
    with pytest.raises(ValueError, match=r"has no column 'Unnamed: 0'"):
        prepare_examples(data, older, tmp_path / "cache")


@pytest.mark.parametrize("texts", [[True, False], ["error"], ["n.a.", "unknown"]])
def test_numbers_and_texts_of_json_are_refused_as_those_of_csv_are(texts: list[Any], tmp_path: Path) -> None:
    cells = [texts[i % len(texts)] if i < ROWS * 0.55 else i / 2 for i in range(ROWS)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"x": cell, "y": 1.5 * i}) + "\n" for i, cell in enumerate(cells)))
    with pytest.raises(ValueError, match=r"t\.jsonl, line 1: 'x' is "):
        fitted(str(path))


def test_dates_of_eight_digits_are_noted(tmp_path: Path) -> None:
    days = [f"202401{1 + i % 28:02}" for i in range(ROWS)]
    notes = prepared(table_of(tmp_path, days), tmp_path / "cache").reading.lines()
    assert [line for line in notes if "look like dates (20240131), read as plain numbers" in line]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ([f"Week {i}" for i in range(ROWS)], "differ only in their digits, and are read as categories"),
        ([f"{i}h{i % 4}" for i in range(ROWS)], "differ only in their digits, and are read as categories"),
        ([f"{1 + i % 28}.{1 + i % 12}" for i in range(ROWS)], "look like days and months (31.12), read as plain numb"),
        (["low", "high"] * 30, ""),
        ([f"{1 + i % 28}.{1 + i % 9}" for i in range(ROWS)], ""),
    ],
)
def test_cells_that_may_be_dates_or_counts_are_noted(cells: list[str], note: str, tmp_path: Path) -> None:
    notes = prepared(table_of(tmp_path, cells), tmp_path / "cache", inputs=["x"]).reading.lines()
    assert [f"60 cells of 'x' {note}" in line for line in notes] == [True] * bool(note)


def test_inputs_like_ids_are_named_in_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [[f"id{i:04}", "ab"[i % 2], 1.5 * i] for i in range(ROWS)]
    fitted(write_csv(tmp_path / "t.csv", ["name", "kind", "y"], rows))
    assert [record.args[1] for record in caplog.records if record.args and "like ids" in record.msg] == ["name"]
