"""Reading tables: the same result for all formats; errors name the file, row and column."""

import gzip
import json
from pathlib import Path

import pytest

from seqlab.data.tables import RawTable, read_rows, read_table

ROWS = [("a b", 1.5, True), ('ü, "q"', -2.0, False), ("x", 3e5, True)]
CELLS = [(name.replace('"', '""'), size, str(flag).lower()) for name, size, flag in ROWS]
TEXT = "name,size,is\n" + "".join(f'"{name}",{size},{flag}\n' for name, size, flag in CELLS)


def write(folder: Path, kind: str) -> Path:
    path = folder / f"table{kind}"
    if kind == ".csv":
        path.write_text(TEXT, "utf-8")
    elif kind == ".csv.gz":
        path.write_bytes(gzip.compress(TEXT.encode()))
    elif kind == ".tsv":
        lines = ["name\tsize\tis", *(f'"{name}"\t{size}\t{flag}' for name, size, flag in CELLS)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    elif kind == ".jsonl":
        records = [dict(zip(("name", "size", "is"), row, strict=True)) for row in ROWS]
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = dict(zip(("name", "size", "is"), map(list, zip(*ROWS, strict=True)), strict=True))
        parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".tsv", ".jsonl", ".parquet"])
def test_all_formats_give_the_same_table(kind: str, tmp_path: Path) -> None:
    header, rows = read_table(write(tmp_path, kind))
    assert header == ["name", "size", "is"]
    found = [(cells[0], float(cells[1]), cells[2]) for _, cells in rows]
    assert found == [(name, size, str(flag).lower()) for name, size, flag in ROWS]
    column = RawTable.read([str(write(tmp_path, kind))]).columns["is"]
    assert column.is_numeric
    assert column.values().tolist() == [1, 0, 1]


def test_locations_name_the_file_and_line(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text('a,b\n1,"two\nlines"\n\n3,4\n', "utf-8")
    table = RawTable.read([str(tmp_path / "one.csv"), str(tmp_path / "two.csv")])
    assert [len(table), table.num_empty] == [4, 2]
    assert table.locate(1) == f"{tmp_path / 'one.csv'}, line 5"
    assert table.locate(2) == f"{tmp_path / 'two.csv'}, line 3"  # the last line of the record
    assert table.columns["a"].values().tolist() == [1, 3, 1, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t: is empty, but must start with a line of column names"),
        ("a,a\n1,2\n", "t: has 2 columns 'a': rename all but one"),
        ("a,\n1,2\n", "t: has a column without a name"),
        ("a,b\n1,2\n1\n", "t, line 3: has 1 cells, but the header names 2 columns"),
        ('a,b\n1,"2\n', "t, line 2: the cells cannot be separated"),
        ('{"a": 1}\n{"b": 2}\n', "t, line 2: has no 'a', but the first record has"),
        ('{"a": 1}\n{"a": \n', "t, line 2: not JSON"),
        ('{"a": 1}\n[1]\n', "t, line 2: must be a JSON object"),
    ],
)
def test_errors_name_the_location(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(read_rows(text.split("\n")[:-1], "t")[1])


def test_errors_name_missing_columns_and_unknown_suffixes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match=r"t\.csv: has no column 'c', only a, b"):
        RawTable.read([str(tmp_path / "t.csv")], ["c"])
    with pytest.raises(ValueError, match=r"t\.xls: is not a table: its name must end in \.csv"):
        read_table(tmp_path / "t.xls")


@pytest.mark.parametrize("wanted", [(), ("x", "y")])
def test_a_column_that_the_first_table_lacks_is_not_dropped(wanted: tuple[str, ...], tmp_path: Path) -> None:
    for name, text in (
        ("a.csv", "x,y\n1,2\n"),
        ("b.csv", "Unnamed: 0,y,x\n0,2,1\n"),
        ("c.jsonl", '{"x": 1, "z": 2, "y": 3}\n'),
    ):
        (tmp_path / name).write_text(text)
    a, b, c = (str(tmp_path / name) for name in ("a.csv", "b.csv", "c.jsonl"))
    assert RawTable.read([a, b], wanted).columns["y"].values().tolist() == [2, 2]
    if wanted:
        assert RawTable.read([a, c], wanted).columns["y"].values().tolist() == [2, 3]
        return
    with pytest.raises(ValueError, match=r"c\.jsonl: has the column 'z', but \S*a\.csv has not"):
        RawTable.read([a, b, c])
