"""`seqlab predict` on tables with bad rows: N rows in, N lines out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import seqlab
from seqlab.runs.folder import RunFolder
from seqlab.tasks.prediction.commands import PredictOptions
from seqlab.training import train

from .conftest import run, tiny, write_csv


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size,age\n1,2\n", "standard input: has no column 'city', only size, age"),
        ("", "standard input: is empty"),
        ('size,age,city\n1,2,"Köln\n3,4,Köln\n', "standard input, line 2: the cells cannot be separated"),
        ('size,age,city\n"1,2,Köln\n3",4,Köln\n', "line 2: a quotation mark opens a cell that ends in line 3"),
    ],
)
def test_invalid_tables_are_refused_with_their_line(houses: Path, text: str, message: str) -> None:
    status, out, err = run("predict", houses, stdin=text)
    assert (status, out) == (2, "")
    assert message in err


GOOD_ROW = "100,10,Berlin"
BAD_ROWS = {
    "x,2,Köln": "line 3: 'size' ",
    "1,,Köln": "line 3: 'age' ",
    "1,2": "line 3: has 2 cells, but the header names 3",
    "1,2,Köln,4": "line 3: has 4 cells, but the header names 3",
    "# 1,2,Köln,4": "line 3: has 4 cells, but the header names 3 columns. Comments are left out only before the header",
    '1,"2" 3,Köln': "line 3: the cells cannot be separated",
    '1,2, "Köln"': "line 3: a quotation mark follows a space",
    "1,2,K\0öln": "line 3: has a NUL character",
    "size,age,city": "line 3: repeats the header",
}


@pytest.mark.parametrize("row", BAD_ROWS)
@pytest.mark.parametrize("as_json", [False, True])
def test_rows_that_cannot_be_predicted_have_empty_lines(houses: Path, row: str, as_json: bool) -> None:
    options = ["--json"] if as_json else []
    text = "\n".join(["size,age,city", GOOD_ROW, row, GOOD_ROW, "", GOOD_ROW]) + "\n"
    status, out, err = run("predict", houses, *options, stdin=text)
    lines = out.splitlines()
    assert status == 3
    assert f"standard input, {BAD_ROWS[row]}" in err
    assert "1 row(s) cannot be predicted" in err
    assert len(lines) == 5
    assert lines[0] == lines[2] == lines[4] != lines[1] == lines[3]
    assert lines[1] == ('{"prediction": "", "values": null}' if as_json else "")


def test_records_that_cannot_be_predicted_have_empty_lines(houses: Path) -> None:
    good = '{"city": "Berlin", "age": 10, "size": 100, "id": 3}'
    bad = [
        '{"city": "Berlin", "size": 100}',
        '{"city": ',
        "[1]",
        '{"city": {}, "age": 10, "size": 100}',
        '{"a": 1, "a": 2}',
    ]
    expected = run("predict", houses, stdin=f"{good}\n")[1]
    status, out, err = run("predict", houses, stdin="\n".join([*bad, good, good]) + "\n")
    assert (status, out) == (3, "\n" * len(bad) + 2 * expected)
    assert "standard input, line 1: has no 'age', only city, size" in err
    assert run("predict", houses, stdin=f"[{good},\n{good}]\n")[:2] == (0, 2 * expected)
    assert run("predict", houses, stdin=f"{bad[0]}\n")[:2] == (3, "\n")


def test_a_run_of_version_1_reads_tables_as_it_was_trained(houses: Path, tmp_path: Path) -> None:
    text = "size;age;city\n100;10;Berlin\n"
    assert run("predict", houses, stdin=text)[:2] == run("predict", houses, stdin=text.replace(";", ","))[:2]
    older = RunFolder(shutil.copytree(houses, tmp_path / "run"))
    older.write_description({name: value for name, value in older.read_description().items() if name != "reading"})
    status, _, err = run("predict", older.path, stdin=text)
    assert status == 2
    assert "has no column 'size', only size;age;city" in err
    assert [PredictOptions(runs=[str(path)]).reading for path in (older.path, houses)] == [1, 2]
    assert RunFolder(tmp_path).reading == 2  # no run, such as an export


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on windows of 3 rows with 2 inputs."""
    folder = tmp_path_factory.mktemp("series")
    path = write_csv(folder / "t.csv", ["x", "y"], [[i % 7, i % 5] for i in range(60)])
    return train(tiny(path, "x", inputs=["x", "y"], window=3, max_steps=2), folder / "run")


@pytest.mark.parametrize("bad", ["four,1", ",1", "NaN,1", "inf,1", "1e300,1", "3", "3,1,2", '3,"1" 2'])
def test_a_bad_row_of_a_time_series_leaves_the_windows_with_it_empty(series: Path, bad: str) -> None:
    good = [f"{i % 7},{i % 5}" for i in range(9)]
    _, out, _ = run("predict", series, stdin="\n".join(["x,y", *good]) + "\n")
    expected = out.splitlines()
    assert [bool(line) for line in expected] == [False] * 2 + [True] * 7
    status, out, err = run("predict", series, stdin="\n".join(["x,y", *good[:4], bad, *good[5:]]) + "\n")
    assert (status, out.splitlines()) == (3, [*expected[:4], "", "", "", *expected[7:]])
    assert "standard input, line 6: " in err
    assert "1 row(s) cannot be predicted" in err
    assert "whose window has one of them" in err


def test_bad_records_and_long_lines_of_a_time_series_keep_their_place(series: Path) -> None:
    good = [json.dumps({"x": i % 7, "y": i % 5}) for i in range(9)]
    expected = run("predict", series, stdin="\n".join(good) + "\n")[1].splitlines()
    for bad in ('{"x": 4}', '{"x": 4, ', "[4, 1]"):
        status, out, _ = run("predict", series, stdin="\n".join([*good[:4], bad, *good[5:]]) + "\n")
        assert (status, out.splitlines()) == (3, [*expected[:4], "", "", "", *expected[7:]])
    options = ["--max_line_bytes", "40"]
    text = "\n".join([*good[:4], json.dumps({"x": 4, "y": 4, "z": "long" * 10}), *good[5:]]) + "\n"
    status, out, _ = run("predict", series, *options, stdin=text)
    assert (status, out.splitlines()) == (3, [*expected[:4], "", "", "", *expected[7:]])
    text = "\n".join([*good[:4], "", *good[4:]]) + "\n"  # an empty line is no row, as in training
    assert run("predict", series, stdin=text)[1].splitlines() == [*expected[:4], "", *expected[4:]]


def test_bad_rows_of_arrays_have_empty_lines(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "train.npz", x=values, y=values[:, 0])
    run_dir = train(tiny(str(tmp_path / "train.npz"), "y", inputs=["x"], max_steps=2), tmp_path / "run")
    np.savez(tmp_path / "new.npz", x=values)
    expected = run("predict", run_dir, "--input", tmp_path / "new.npz")[1].splitlines()
    bad = [(3, np.nan), (7, np.inf), (9, 1e300)]
    for row, value in bad:
        values[row, 1] = value
    np.savez(tmp_path / "new.npz", x=values)
    status, out, err = run("predict", run_dir, "--input", tmp_path / "new.npz")
    for row, _ in bad:
        expected[row] = ""
        assert f"new.npz, row {row + 1}: contains NaN or infinity" in err
    assert (status, out.splitlines()) == (3, expected)
    with pytest.raises(ValueError, match="row 4: contains NaN"):
        seqlab.load(run_dir).predict(values)
    np.save(tmp_path / "new.npy", values)
    for name, message in (("new.npy", "one array without a name"), ("t.csv", "is a table, but")):
        status, out, err = run("predict", run_dir, "--input", tmp_path / name)
        assert (status, out) == (2, "")
        assert message in err


def test_arrays_are_no_input_of_a_run_on_tables(houses: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "a.npz", tmp_path):
        status, out, err = run("predict", houses, "--input", path)
        assert (status, out) == (2, "")
        assert "holds arrays or images, but" in err


def test_empty_rows_have_a_warning(houses: Path) -> None:
    status, out, err = run("predict", houses, stdin=f"size,age,city\n{GOOD_ROW}\n\n{GOOD_ROW}\n\n")
    assert (status, [bool(line) for line in out.splitlines()]) == (0, [True, False, True, False])
    assert "2 empty lines have empty output lines (the first: standard input, line 3)" in err
