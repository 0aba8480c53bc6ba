"""`seqlab predict` on tables with bad rows: N rows in, N lines out."""

import shutil
from pathlib import Path

import pytest

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


def test_a_row_of_a_time_series_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ["x"], [[i % 7] for i in range(60)])
    run_dir = train(tiny(path, "x", inputs=["x"], window=3, max_steps=2), tmp_path / "run")
    status, out, err = run("predict", run_dir, stdin="x\n1\n2\n3\nfour\n5\n")
    assert (status, out) == (2, "")
    assert "standard input, line 5: 'x'" in err
