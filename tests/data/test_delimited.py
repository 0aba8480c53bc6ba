"""Rows of .csv and .tsv files: separators, quotation marks, headers, comments and ragged rows, in all commands."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.columns import FileColumn, parse_column
from seqlab.data.tables import RawTable, read_rows, read_table


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def cells_of(path: Path, **options: int) -> tuple[list[str], list[list[str]]]:
    """Read a table as `seqlab predict` does, and check that its columns are read in the same way."""
    header, rows = read_table(path, **options)
    found = [list(cells) for _, cells in rows]
    for index, name in enumerate(header):
        column = [cells[index] if cells else "" for cells in found]
        if not name.startswith("#"):
            assert list(parse_column(f"{path}#{name}").cells()) == column
    return header, found


NAMES = [{5: '"open', 15: 'shut"'}.get(i, f"n{i}") for i in range(60)]
OPEN_QUOTES = "name\ty\n" + "".join(f"{name}\t{i % 2}\n" for i, name in enumerate(NAMES))


def test_a_quotation_mark_that_is_not_closed_in_its_cell_is_literal_between_tabs(tmp_path: Path) -> None:
    header, rows = cells_of(write(tmp_path / "q.tsv", OPEN_QUOTES))
    assert (header, len(rows)) == (["name", "y"], 60)
    assert [rows[5], rows[15]] == [['"open', "1"], ['shut"', "1"]]
    assert rows == [line.split("\t") for line in OPEN_QUOTES.splitlines()[1:]]


def test_a_quotation_mark_that_swallows_rows_between_commas_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "q.csv", OPEN_QUOTES.replace("\t", ","))
    message = (
        r"q\.csv, line 7: a quotation mark opens a cell that ends in line 17, but each of these 11 lines has the 2"
    )
    with pytest.raises(ValueError, match=message):
        list(read_table(path)[1])
    with pytest.raises(ValueError, match=message):
        list(parse_column(f"{path}#name").cells())
    path = write(tmp_path / "r.csv", 'name,y\n"open,1\nn,2\nshut" x,1\n')
    with pytest.raises(ValueError, match=r"r\.csv, line 2: the cells cannot be separated .*not closed up to line 4"):
        list(read_table(path)[1])


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_rows_that_pandas_writes_are_read_as_they_were(separator: str, quoting: int, tmp_path: Path) -> None:
    """Cells with separators, doubled quotation marks and line breaks, also in .tsv files."""
    table = {
        "text": ["two\nlines", 'say "hi"', f"a{separator}b", "5 inches", "", "x\n\ny"],
        "last": ["1", "2", "line\nbreak", "4,5", '"', "6"],
    }
    suffix = ".tsv" if separator == "\t" else ".csv"
    path = tmp_path / f"t{suffix}"
    pandas.DataFrame(table).to_csv(path, sep=separator, quoting=quoting, index=False)  # type: ignore[call-overload]
    assert cells_of(path) == (list(table), [list(row) for row in zip(*table.values(), strict=True)])


texts = st.text(st.sampled_from('ab ,;|\t"\n'), max_size=8)


@given(rows=st.lists(st.tuples(texts, texts, st.integers(0, 9).map(str)), max_size=5))
def test_rows_of_csv_equal_those_of_the_csv_module(rows: list[tuple[str, str, str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    lines = stream.getvalue().split("\n")[:-1]
    rejected: list[str] = []
    try:
        found = [tuple(cells) for _, cells in read_rows(lines, "t", "comma", reject=rejected.append)[1]]
    except ValueError as error:  # ambiguous: each line of a cell looks like a row
        rejected, found = [str(error)], rows
    assert all("a quotation mark opens a cell that ends in line" in message for message in rejected)
    assert found == rows


@given(rows=st.lists(st.tuples(texts, texts, st.integers(0, 9).map(str)), max_size=5))
def test_literal_rows_between_tabs_keep_their_number(rows: list[tuple[str, str, str]]) -> None:
    """Cells without tabs and line breaks: as many rows as lines, and only enclosing quotation marks are removed."""
    plain = [tuple(cell.replace("\t", "").replace("\n", "") for cell in row) for row in rows]
    lines = ["a\tb\tc", *("\t".join(row) for row in plain)]
    found = [tuple(cells) for _, cells in read_rows(lines, "t", "tab")[1]]
    assert len(found) == len(plain)
    for before, after in zip(plain, found, strict=True):
        for old, new in zip(before, after, strict=True):
            assert new == old or (old[0] == old[-1] == '"' and new == old[1:-1].replace('""', '"'))


@given(
    text=st.text(st.sampled_from('ab1 ,;|\t"#\n\r\0='), max_size=40),
    kind=st.sampled_from(["comma", "tab", "json", None]),
    reading=st.sampled_from([1, 2]),
)
def test_any_text_gives_rows_of_equal_length_or_an_error(text: str, kind: Any, reading: int) -> None:
    rejected: list[str] = []
    try:
        header, rows = read_rows(text.split("\n"), "t", kind, reading=reading, reject=rejected.append)
        found = list(rows)
    except ValueError as error:
        header, found, rejected = [], [], [str(error)]
    else:
        assert len(rejected) <= sum(not cells for _, cells in found)
    assert {len(cells) for _, cells in found} <= {0, len(header)}
    assert all(message.startswith("t") for message in rejected)


QUOTED: dict[str, tuple[str, str]] = {
    "enclosed": ('"a b"', "a b"),
    "doubled inside": ('"say ""hi"""', 'say "hi"'),
    "only at the start": ('"Hello" he said', '"Hello" he said'),
    "only at the end": ('he said "Hello"', 'he said "Hello"'),
    "two words": ('"one" "two"', '"one" "two"'),
    "inches": ('5" pipe', '5" pipe'),
    "alone": ('"', '"'),
    "empty": ('""', ""),
    "a tab inside": ('"a\tb"', "a\tb"),
    "a line break inside": ('"a\nb"', "a\nb"),
}


@pytest.mark.parametrize("case", QUOTED)
@pytest.mark.parametrize("position", [0, 1])
def test_quotation_marks_between_tabs(case: str, position: int, tmp_path: Path) -> None:
    cell, expected = QUOTED[case]
    rows = [["1", "2"], ["3", "4"], ["5", "6"]]
    rows[1][position] = cell
    path = write(tmp_path / "t.tsv", "x\ty\n" + "".join("\t".join(row) + "\n" for row in rows))
    rows[1][position] = expected
    assert cells_of(path) == (["x", "y"], rows)


SEPARATORS: dict[str, tuple[str, list[str], list[list[str]]]] = {
    "semicolons and decimal commas": (
        "a;b;c\n1,5;2,5;x\n2,5;3;y\n",
        ["a", "b", "c"],
        [["1,5", "2,5", "x"], ["2,5", "3", "y"]],
    ),
    "bars": ("a|b\n1|2\n", ["a", "b"], [["1", "2"]]),
    "tabs": ("a\tb\n1\t2\n", ["a", "b"], [["1", "2"]]),
    "the line of Excel": ("sep=;\na;b\n1,5;2\n", ["a", "b"], [["1,5", "2"]]),
    "commas with other marks in cells": ("a,b\n1;2,x|y\n", ["a", "b"], [["1;2", "x|y"]]),
    "one column": ("text\nHello, you; there|\n".replace(",", ""), ["text"], [["Hello you; there|"]]),
    "quoted header": ('"a;1";"b"\n1;2\n', ["a;1", "b"], [["1", "2"]]),
    "spaces in the header": ("a, b ,c\n1,2,3\n", ["a", "b", "c"], [["1", "2", "3"]]),
    "a byte order mark": ("\ufeffa;b\n1;2\n", ["a", "b"], [["1", "2"]]),
    "comments before the header": ("# made by x, 2024\n#\n\na,b\n1,2\n", ["a", "b"], [["1", "2"]]),
    "comments with as many cells": ("# made by x, 2024\na,b\n1,2\n", ["a", "b"], [["1", "2"]]),
    "a header of numpy": ("# a,b\n1,2\n3,4\n", ["# a", "b"], [["1", "2"], ["3", "4"]]),
    "an empty line after a header of numpy": ("# a,b\n\n1,2\n", ["# a", "b"], [[], ["1", "2"]]),
    "names with a #": ("#name,city\nAnn,Rome\n", ["#name", "city"], [["Ann", "Rome"]]),
    "a header that starts with #": ("#chrom,start\n1,2\n", ["#chrom", "start"], [["1", "2"]]),
    "separators at the end": ("a,b,\n1,2,\n3,4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
    "separators at the end of rows": ("a,b\n1,2,\n3,4,,\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
    "line ends of Windows": ("a,b\r\n1,2\r\n\r\n", ["a", "b"], [["1", "2"], []]),
    "empty lines": ("a,b\n\n1,2\n  \n\n", ["a", "b"], [[], ["1", "2"], [], []]),
    "years as names": ("2019,2020\n1,2\n", ["2019", "2020"], [["1", "2"]]),
}


@pytest.mark.parametrize("case", SEPARATORS)
def test_separators_headers_and_comments(case: str, tmp_path: Path) -> None:
    text, header, rows = SEPARATORS[case]
    path = write(tmp_path / "t.csv", text)
    assert cells_of(path) == (header, rows)
    assert [[*cells] for _, cells in read_rows(text.removeprefix("\ufeff").splitlines(), "stdin")[1]] == rows


REFUSED: dict[str, tuple[str, str]] = {
    "a missing header": (
        "5.1,3.5\n4.9,3.0\n",
        r"t\.csv, line 1: holds numbers \(5\.1, 3\.5, \.\.\.\), but must hold the names",
    ),
    "row numbers of pandas": (",a\n0,1\n", r"column without a name .*row numbers of pandas.*`to_csv\(index=False\)`"),
    "a value without a column": (
        "a,b,\n1,2,3\n",
        r"has a column without a name in its header, but line 2 has '3' there",
    ),
    "carriage returns": ("a,b\r1,2\r", r"its lines end in carriage returns, not newlines"),
    "carriage returns and quotation marks": ('"a","b"\r"1","2"\r', r"its lines end in carriage returns, not newlines"),
    "a carriage return after a quotation mark": (
        '"a","b"\n"1","2"\r"3","4"\n',
        r"line 2: the cells cannot be separated",
    ),
    "a carriage return inside": ("a,b\n1,2\r3,4\n", r"t\.csv, line 2: .*a carriage return inside the line"),
    "NUL": ("a,b\n1,\0\n", r"t\.csv, line 2: has a NUL character"),
    "a comment between rows": (
        "a,b\n1,2\n# end\n",
        r"line 3: has 1 cells, .*Comments are left out only before the header",
    ),
    "a header in the middle": ("a,b\n1,2\na,b\n3,4\n", r"t\.csv, line 3: repeats the header"),
    "backslashes before quotation marks": ('a,b\n"say \\"hi\\"",2\n', r"t\.csv, line 2: the cells cannot be separated"),
    "row names of R": ('"a","b"\n"1",2,3\n', r"line 2: has 3 cells, but the header names 2 columns"),
    "decimal commas between commas": ("a,b\n1,5,2\n", r"line 2: has 3 cells, but the header names 2 columns"),
    "the last line of a data base": ("a,b\n1,2\n(1 row)\n", r"line 3: has 1 cells, but the header names 2 columns"),
    "a web page": ("<!DOCTYPE html>\n<html>\n", r"t\.csv: is an HTML or XML page"),
    "a space before a quotation mark": ('a,b\n1, "x"\n', r"line 2: a quotation mark follows a space"),
    "an open quotation mark": (
        'a,b\n1,2\n1,"x\n3,4\n',
        r"t\.csv, line 3: the cells cannot be separated .*not closed up to line 4",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_tables_are_refused_with_file_and_line(case: str, tmp_path: Path) -> None:
    text, message = REFUSED[case]
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(ValueError, match=message):
        list(read_table(path)[1])


def test_a_table_with_spaces_between_cells_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a b y\n1 2 3\n")
    message = "only a b y. Cells between spaces are not read: separate them by commas or tabs"
    with pytest.raises(ValueError, match=message):
        RawTable.read([str(path)], ["y"])
    with pytest.raises(ValueError, match=message):
        list(parse_column(f"{path}#y").cells())


def test_a_first_line_of_data_is_suspected_if_a_column_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "101.5,12,Berlin,480.5\n84.0,3,Rome,296.0\n")
    with pytest.raises(ValueError, match=r"has no column 'price', only 101\.5, 12, .* add a first line with the names"):
        RawTable.read([str(path)], ["price"])


@pytest.mark.parametrize("name", ["gro\u0308\u00dfe", "gr\u00f6\u00dfe\u200b", "gr\u00f6\u00df\u200de"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_columns_whose_names_look_like_the_missing_one_are_named(name: str, suffix: str, tmp_path: Path) -> None:
    """In another Unicode form, or with invisible characters: the message would show two equal names."""
    text = f"{name},x\n1,2\n" if suffix == ".csv" else f'{{"{name}": 1, "x": 2}}\n'
    path = write(tmp_path / f"t{suffix}", text)
    with pytest.raises(ValueError, match=r"has no .*The name '\S*\\\S*' looks like 'gr\\xf6\\xdfe', but has other"):
        RawTable.read([str(path)], ["gr\u00f6\u00dfe"])


def test_an_open_quotation_mark_of_a_ragged_row_between_tabs_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", 'a\tb\tc\n1\t"two\nlines\t3\n')
    with pytest.raises(
        ValueError, match=r"line 2: has 2 columns, .* A quotation mark opens a cell, but does not close"
    ):
        list(read_table(path)[1])


def test_version_1_reads_quotation_marks_and_separators_as_before(tmp_path: Path) -> None:
    path = write(tmp_path / "q.tsv", OPEN_QUOTES)
    with pytest.raises(ValueError, match=r"q\.tsv, line 7: a quotation mark opens a cell that ends in line 17"):
        list(read_table(path, reading=1)[1])
    path = write(tmp_path / "r.tsv", 'a\tb\n"x"\t1\n"two\tcells"\t2\n"two\nlines"\t3\n')
    rows = [["x", "1"], ["two\tcells", "2"], ["two\nlines", "3"]]
    assert [[list(cells) for _, cells in read_table(path, reading=version)[1]] for version in (1, 2)] == [rows, rows]
    write(tmp_path / "t.tsv", 'a\tb\n"x"\t1\n')
    assert list(parse_column(f"{tmp_path / 't.tsv'}#a", reading=1).cells()) == ['"x"']
    assert read_table(write(tmp_path / "t.csv", "a;b\n1;2\n"), reading=1)[0] == ["a;b"]


def test_rows_that_version_1_read_differently_are_noted(tmp_path: Path) -> None:
    path, notes = write(tmp_path / "t.tsv", 'a\tb\n"x"\t1\n\n"y" z\t2\n"two\nlines"\t3\n'), ReadingNotes()
    list(read_rows(OPEN_QUOTES.splitlines(), "q.tsv", notes=notes)[1])
    notes.update(FileColumn(path, "a").scan().notes)
    notes.update(FileColumn(path, "b").scan().notes)
    assert notes.lines() == [
        "1 rows have a cell that starts with a quotation mark, which is part of the text (the first: q.tsv, line 7)",
        f"1 cells are in quotation marks, which were removed (the first: {path}, line 2)",
    ]
    assert len(notes.changes_after(1)) == 2


def test_locations_of_rows_with_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", '# comment\na,b\n1,"two\nlines"\n\n3,4\n')
    assert list(parse_column(f"{path}#a").line_numbers(0, 3)) == [4, 5, 6]
    assert [line for line, _ in read_table(path)[1]] == [4, 5, 6]


AMBIGUOUS = {
    "commas in texts": "text, long;label\nHello, world;1\nyes, no;0\n",
    "bars in cells": "id,price|currency\n1,5|EUR\n2,6|USD\n",
    "tabs": "a,b\tc\n1,2\t3\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_a_table_that_two_separators_divide_equally_is_refused(case: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", AMBIGUOUS[case])
    for read in (lambda: read_table(path), lambda: next(parse_column(f"{path}#label").cells())):
        with pytest.raises(ValueError, match=r"t\.csv, line 1: ',' and '.*' may separate .*Put a line `sep=;`"):
            read()


@pytest.mark.parametrize(
    ("name", "text", "header"),
    [
        ("t.csv", "sep=;\n" + AMBIGUOUS["commas in texts"], ["text, long", "label"]),
        ("t.csv", AMBIGUOUS["commas in texts"] + "one; two, three,\n", ["text", "long;label"]),
        ("t.csv", 'a;b,c\n"x;y",2\nz,3\n', ["a;b", "c"]),
        ("t.tsv", "a\tb;c\n1\t2;3\n", ["a", "b;c"]),
    ],
)
def test_a_separator_that_one_row_shows_is_read(name: str, text: str, header: list[str], tmp_path: Path) -> None:
    assert read_table(write(tmp_path / name, text))[0] == header


def test_an_unknown_column_names_the_comment_that_may_be_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "# made by hand\n# id\ttext\na\tgood\nb\tbad\n")
    message = r"has no column 'text', only a, good\. .* 2 lines of comments were left out \('# id.ttext'\): if this is"
    for read in (lambda: RawTable.read([str(path)], ["text"]), lambda: next(parse_column(f"{path}#text").cells())):
        with pytest.raises(ValueError, match=message):
            read()
