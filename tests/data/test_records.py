"""Records of JSON and parquet files: keys, nested objects, values, and equal reading in all commands."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqlab.data.columns import parse_column
from seqlab.data.tables import RawTable, read_rows, read_table
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import fit_codecs, read_examples

RECORDS = [{"a": 1, "b": {"c": "x", "d": 2.5}}, {"b": {"d": 3, "c": "y"}, "a": 12345678901234567890}]
HEADER, ROWS = ["a", "b.c", "b.d"], [["1", "x", "2.5"], ["12345678901234567890", "y", "3"]]


def rows_of(text: str, *wanted: str, name: str = "t") -> tuple[list[str], list[list[str]]]:
    header, rows = read_rows(text.splitlines(), name, None, wanted)
    return header, [list(cells) for _, cells in rows]


@pytest.mark.parametrize("layout", ["lines", "array", "indented"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_records_on_lines_and_in_arrays_are_the_same(layout: str, suffix: str, tmp_path: Path) -> None:
    indent = 1 if layout == "indented" else None
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    path = tmp_path / f"t{suffix}"
    path.write_text(lines if layout == "lines" else json.dumps(RECORDS, indent=indent), "utf-8")
    header, rows = read_table(path)
    assert (header, [list(cells) for _, cells in rows]) == (HEADER, ROWS)
    for index, name in enumerate(HEADER):
        assert list(parse_column(f"{path}#{name}").cells()) == [row[index] for row in ROWS]
    assert RawTable.read([str(path)], ["b.c", "a"]).columns.keys() == {"b.c", "a"}


def test_the_unit_of_locations_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(RECORDS, indent=1), "utf-8")
    assert RawTable.read([str(tmp_path / "t.json")]).locate(1).endswith("t.json, record 2")


REFUSED = {
    "a key that the first record lacks": (
        '{"a": 1}\n{"a": 2, "b": 3}',
        "line 2: has 'b', but the first record has not",
    ),
    "a key that a later record lacks": ('{"a": 1, "b": 2}\n{"a": 2}', "line 2: has no 'b', but the first record has"),
    "a key that is nested only once": ('{"a": {"b": 1}}\n{"a": 2}', "line 2: has no 'a.b', but the first record has"),
    "the same key twice": ('{"a": 1, "a": 2}', "line 1: has the key 'a' twice"),
    "a list of phrases": ('{"a": ["New York"]}', r"line 1: 'a\[0\]' must be a word without spaces, but is 'New York'"),
    "an empty object": ('{"a": {}}', "line 1: 'a' must be text, but is a dict: name one of its values, such as"),
    "a list of lists": ('{"a": [[1]]}', r"line 1: 'a\[0\]' must be text, but is a list: write a list of words"),
    "a key and a path of one name": ('{"a.b": 2, "a": {"b": 1}}', "line 1: has several values 'a.b', as a key and in"),
    "an unpaired surrogate": ('{"a": "\\ud800"}', "line 1: 'a' contains an unpaired surrogate"),
    "an array of numbers": ("[1, 2]", "record 1: must be a JSON object"),
    "columns of pandas": ('[{"a": 1},', r"cannot be read as \.json \(not JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_records_that_differ_are_refused_with_their_line(case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"t, {message}" if "line" in message else message):
        rows_of(text)


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        ({"a.b": {"c": 1}, "d": 2}, ["a.b.c", "d"]),
        ({"a": {"b.c": 1, "d": {"e": 2}}}, ["a.b.c", "a.d.e"]),
        ({"a": {"b": 1}, "a.c": 2}, ["a.b", "a.c"]),
        ({"a.b": 1, "a": {}}, ["a.b"]),
    ],
)
def test_names_with_dots_are_the_same_in_all_commands(record: Any, columns: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(record) + "\n", "utf-8")
    found = RawTable.read([str(path)], columns)
    for number, name in enumerate(columns, start=1):
        assert found.columns[name].text(0) == str(number)
        assert list(parse_column(f"{path}#{name}").cells()) == [str(number)]


def test_a_key_and_a_path_of_one_name_are_refused_as_a_column(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a.b": 2, "a": {"b": 1}, "c": 3}\n', "utf-8")
    assert list(parse_column(f"{path}#c").cells()) == ["3"]
    for read in (lambda: RawTable.read([str(path)], ["a.b"]), lambda: list(parse_column(f"{path}#a.b").cells())):
        with pytest.raises(ValueError, match=r"t\.jsonl, line 1: has several values 'a\.b'"):
            read()


def test_the_unit_of_an_array_on_standard_input_is_the_record(tmp_path: Path) -> None:
    for text, unit in (('[{"a": "x"}, {"b": "y"}]', "record"), ('{"a": "x"}\n{"b": "y"}', "line")):
        with pytest.raises(ValueError, match=f"t, {unit} 2: has no 'a'"):
            rows_of(text, "a")
        table = RawTable.empty()
        header, rows = read_rows(text.replace('"b"', '"a"').splitlines(), "t", None, ["a"])
        table.append("t", header, rows, unit=rows.unit)
        assert table.locate(1) == f"t, {unit} 2"


def test_a_document_that_is_no_array_of_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"version": 1, "data": RECORDS}, indent=1), "utf-8")
    with pytest.raises(ValueError, match=r"t\.json: must hold an array .*one object with the keys version, data"):
        read_table(path)
    with pytest.raises(ValueError, match=r"t\.json: must hold an array"):
        list(parse_column(f"{path}#a").cells())


@pytest.mark.parametrize("table", [{"a": {"0": 1, "1": 2}, "b": {"0": 3, "1": 4}}, {"a": [1, 2], "b": [3, 4]}])
def test_a_table_by_columns_is_refused(table: Any, tmp_path: Path) -> None:
    """The default of `to_json` in pandas, and `to_dict("list")`."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps(table), "utf-8")
    with pytest.raises(ValueError, match=r"t\.json: looks like a table by columns, .*`to_json\(orient='records'\)`"):
        read_table(path)
    path.write_text('{"pair": {"de": "x", "en": "y"}}\n', "utf-8")
    assert [cells for _, cells in read_table(path)[1]] == [["x", "y"]]


def test_records_need_only_the_columns_that_are_used() -> None:
    text = '{"a": 1, "id": 5}\n{"a": 2, "note": {"x": [[1]]}}\n\n{"a": null}'
    assert rows_of(text, "a") == (["a"], [["1"], ["2"], [], [""]])
    rejected: list[str] = []
    _, rows = read_rows(['{"b": 1}', '{"a": 2}', "nothing"], "t", "json", ["a"], reject=rejected.append)
    assert [list(cells) for _, cells in rows] == [[], ["2"], []]
    assert rejected[0] == "t, line 1: has no 'a', only b."
    assert rejected[1].startswith("t, line 3: not JSON")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (True, "true"),
        (1.0, "1.0"),
        (1e22, "1e+22"),
        (None, ""),
        ("x", "x"),
        (["a", "b"], "a b"),
        ([], ""),
        ([1, 0], "1 0"),
    ],
)
def test_values_are_the_same_cells_for_all_commands(value: Any, cell: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"a": value}) + "\n", "utf-8")
    assert [list(cells) for _, cells in read_table(path)[1]] == [[cell]]
    assert list(parse_column(f"{path}#a").cells()) == [cell]
    assert rows_of(json.dumps({"a": value}), "a")[1] == [[cell]]


def test_version_1_reads_objects_and_lists_as_before() -> None:
    lines = ['{"a": {"b": 1}, "c": ["New York", null]}', '{"a": 2, "c": 3, "d": 4}']
    header, rows = read_rows(lines, "t", reading=1)
    assert (header, [list(cells) for _, cells in rows]) == (["a", "c"], [["{'b': 1}", "New York "], ["2", "3"]])


ZONE = datetime.timezone(datetime.timedelta(hours=2))
PARQUET = {
    "int64": ([2**53 + 1, None], [str(2**53 + 1), ""]),
    "decimal": ([decimal.Decimal("1.10"), decimal.Decimal("-3.25")], ["1.10", "-3.25"]),
    "date": ([datetime.date(2024, 2, 29), None], ["2024-02-29", ""]),
    "time": ([datetime.datetime(2024, 2, 29, 12, 30), None], ["2024-02-29 12:30:00", ""]),
    "zone": ([datetime.datetime(2024, 2, 29, 12, tzinfo=ZONE), None], ["2024-02-29 12:00:00+02:00", ""]),
    "list": ([["a", "b"], []], ["a b", ""]),
    "bool": ([True, False], ["true", "false"]),
}


@pytest.mark.parametrize("kind", PARQUET)
def test_types_of_parquet(kind: str, tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values, cells = PARQUET[kind]
    array = pyarrow.array(values)
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"a": array, "s": [{"b": 1}, {"b": 2}]}), path)
    header, rows = read_table(path)
    assert (header, [list(row) for _, row in rows]) == (["a", "s.b"], [[cells[0], "1"], [cells[1], "2"]])
    assert list(parse_column(f"{path}#a").cells()) == cells
    assert list(parse_column(f"{path}#s.b").cells()) == ["1", "2"]


def test_dictionaries_of_parquet_are_their_values_and_bytes_are_refused(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    codes = pyarrow.array(["x", "y", "x"]).dictionary_encode()
    parquet.write_table(pyarrow.table({"a": codes, "b": [b"\xff", b"", b"z"]}), path)
    assert [cells for _, cells in read_table(path, ["a"])[1]] == [["x"], ["y"], ["x"]]
    with pytest.raises(ValueError, match=r"t\.parquet: has no column 'z', only a, b"):
        read_table(path, ["a", "z"])
    with pytest.raises(ValueError, match=r"t\.parquet, record 1: 'b' must be text, but is a bytes"):
        list(read_table(path)[1])
    with pytest.raises(ValueError, match=r"t\.parquet, record 1: 'b' must be text, but is a bytes"):
        list(parse_column(f"{path}#b").cells())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_are_missing(number: str) -> None:
    """Python writes them into JSON, which has no such numbers."""
    header, rows = read_rows([f'{{"a": {value}}}' for value in ("1", number, "2.5")], "t")
    table = RawTable.empty()
    table.append("t", header, rows)
    np.testing.assert_array_equal(table.columns["a"].values(), [1, np.nan, 2.5])


def test_maps_and_folders_of_parquet_are_refused_with_what_to_do(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "t.parquet"
    folder.mkdir()
    maps = pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    parquet.write_table(pyarrow.table({"m": maps}), folder / "part-0.parquet")
    with pytest.raises(ValueError, match=r"'m\[0\]' must be text, but is a tuple: write each value of a map in a col"):
        list(read_table(folder / "part-0.parquet")[1])
    data = PredictionConfig(train=[str(folder)], target=["m"])
    with pytest.raises(ValueError, match=r"t\.parquet: is a folder, but a file is needed. Join the parts of a table"):
        read_examples(data, data.train)


@pytest.mark.parametrize("items", [[0, 2], [0.0, 2.0], [1, 234]])
def test_lists_of_numbers_are_no_numbers_or_categories_but_labels(items: list[float], tmp_path: Path) -> None:
    """The items are joined by spaces, which also separate thousands: [1, 234] is not 1234."""
    path = tmp_path / "t.jsonl"
    rows = [json.dumps({"x": [number + i % 5 for number in items], "y": i % 3}) for i in range(40)]
    path.write_text("\n".join(rows))
    data = PredictionConfig(train=[str(path)], target=["y"], predicts="class")
    with pytest.raises(ValueError, match=r"t\.jsonl, line 1: 'x' is '.*', several numbers: give each of them a column"):
        fit_codecs(data, read_examples(data, data.train))
    data = PredictionConfig(train=[str(path)], target=["x"], predicts="labels", inputs=["y"])
    assert {str(number) for number in items} <= set(fit_codecs(data, read_examples(data, data.train))[1].values)
