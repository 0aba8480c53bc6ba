"""Columns of text files, tables and JSON records: specs, values and errors."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from seqlab.data.columns import parse_column

PAIRS = [("eins", "one"), ("zwei, drei", 'two "three"'), ("", "NA"), ("vier\u2028fünf", "007")]


def read(spec: str) -> list[str]:
    return list(parse_column(spec).values())


def test_text_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.de"
    path.write_text("eins\nzwei\n")
    column = parse_column(str(path))
    assert list(column.values()) == ["eins", "zwei"]
    assert list(column.line_numbers(1, 2)) == [2, 3]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_tsv_columns_are_selected_by_number_or_name(tmp_path: Path, suffix: str) -> None:
    def write(name: str, rows: list[tuple[str, str]]) -> str:
        raw = "".join("\t".join(row) + "\r\n" for row in rows).encode()
        (tmp_path / (name + suffix)).write_bytes(gzip.compress(raw) if suffix else raw)
        return str(tmp_path / (name + suffix))

    bare, headed = write("bare.tsv", PAIRS), write("headed.tsv", [("de", "en"), *PAIRS])
    for number, name in enumerate(["de", "en"]):
        expected = [pair[number] for pair in PAIRS]
        assert read(f"{bare}#{number}") == expected
        assert read(f"{headed}#{name}") == expected
    assert list(parse_column(f"{bare}#0").line_numbers(0, 1)) == [1]
    assert list(parse_column(f"{headed}#de").line_numbers(0, 1)) == [2]
    with pytest.raises(ValueError, match="has no column 'fr', only de, en"):
        read(f"{headed}#fr")
    with pytest.raises(ValueError, match=r"bare.tsv.*, line 1: column 2 is missing, the line has 2"):
        read(f"{bare}#2")


def test_errors_for_a_wrong_number_of_tabs_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "bare.tsv").write_text("\nka\tko\n\nti\ttu\tto\n")
    with pytest.raises(ValueError, match=r"bare\.tsv, line 4: has 3 columns, .* has 2: is there one tab too many"):
        read(f"{tmp_path}/bare.tsv#0")
    (tmp_path / "bare.tsv").write_text("ka\tko\n\nku\n")
    with pytest.raises(ValueError, match=r"bare\.tsv, line 3: has 1 columns, .* has 2: is there one tab too few"):
        read(f"{tmp_path}/bare.tsv#0")
    (tmp_path / "headed.tsv").write_text("de\ten\nka\tko\nti\ttu\tto\n")
    with pytest.raises(ValueError, match=r"headed\.tsv, line 3: has 3 columns, but the first line has 2"):
        read(f"{tmp_path}/headed.tsv#de")


def test_duplicate_column_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.tsv").write_text("de\ten\tde\nka\tko\tku\n")
    assert read(f"{tmp_path}/twice.tsv#en") == ["ko"]
    with pytest.raises(ValueError, match=r"twice\.tsv: has 2 columns 'de': rename all but one"):
        read(f"{tmp_path}/twice.tsv#de")
    (tmp_path / "twice.csv").write_text("de,en,de\nka,ko,ku\n")
    assert read(f"{tmp_path}/twice.csv#en") == ["ko"]
    with pytest.raises(ValueError, match=r"twice\.csv: has 2 columns 'de': rename all but one"):
        read(f"{tmp_path}/twice.csv#de")


@pytest.mark.parametrize("column", ["0", "1", "de", "en"])
def test_an_empty_line_is_empty_in_every_column(tmp_path: Path, column: str) -> None:
    header = "" if column.isdecimal() else "de\ten\n"
    (tmp_path / "a.tsv").write_text(f"{header}ka\tko\n\nti\ttu\n")
    assert [bool(value) for value in read(f"{tmp_path}/a.tsv#{column}")] == [True, False, True]


def test_an_empty_line_is_empty_in_several_columns(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("ka\tko\ttu\n\nka\t\ttu\n\t\t\n")
    assert read(f"{tmp_path}/a.tsv#0+2") == ["ka\ttu", "", "ka\ttu", ""]
    assert read(f"{tmp_path}/a.tsv#1+2") == ["ko\ttu", "", "\ttu", ""]
    (tmp_path / "a.jsonl").write_text('{"de": "ka", "en": null}\n{"de": null, "en": null}\n')
    assert read(f"{tmp_path}/a.jsonl#de+en") == ["ka\t", ""]


def test_a_non_ascii_digit_is_a_column_name(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("m²\t²\nka\tko\n")
    assert read(f"{tmp_path}/a.tsv#²") == ["ko"]


def test_the_location_of_a_conllu_sentence_is_its_first_line(tmp_path: Path) -> None:
    sentence = "1\tgo\t_\tVERB\n2\ton\t_\tADP\n\n"
    (tmp_path / "a.conllu").write_text("# one\n" + sentence + "# two\n# 2\n" + sentence + sentence)
    column = parse_column(f"{tmp_path}/a.conllu#form")
    assert list(column.values()) == ["go on"] * 3
    assert list(column.line_numbers(0, 3)) == [1, 5, 10]
    assert list(column.line_numbers(1, 2)) == [5, 10]


def test_several_columns_are_joined_by_tabs(tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text("lemma\tform\ttags\ngo\twent\tV;PST\nox\toxen\tN;PL\n")
    (tmp_path / "words.jsonl").write_text('{"lemma": "go", "of": {"tags": "V\\nPST"}}\n')
    assert list(parse_column(f"{tmp_path}/words.tsv#lemma+tags").values()) == ["go\tV;PST", "ox\tN;PL"]
    assert list(parse_column(f"{tmp_path}/words.tsv#2+0").values())[1] == "V;PST\tgo"
    assert list(parse_column(f"{tmp_path}/words.tsv#lemma+tags").line_numbers(0, 1)) == [2]
    assert list(parse_column(f"{tmp_path}/words.jsonl#lemma+of.tags").values()) == ["go\tV PST"]
    with pytest.raises(ValueError, match=r"words\.tsv, line 1: column 3 is missing, the line has 3"):
        list(parse_column(f"{tmp_path}/words.tsv#0+3").values())
    with pytest.raises(ValueError, match="the column after '#' is empty"):
        parse_column(f"{tmp_path}/words.tsv#0+")
    with pytest.raises(ValueError, match="mixes numbers and names of columns"):
        parse_column(f"{tmp_path}/words.tsv#0+lemma")


def test_a_column_name_may_contain_the_separator_of_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a+b,C++,a,b\n1,2,3,4\n")
    (tmp_path / "x.jsonl").write_text('{"a+b": "1", "C++": "2", "a": "3", "b": "4"}\n')
    for kind in ("csv", "jsonl"):
        values = [list(parse_column(f"{tmp_path}/x.{kind}#{name}").values()) for name in ("a+b", "C++", "a+a+b")]
        assert values == [["1"], ["2"], ["3\t3\t4"]]
    with pytest.raises(ValueError, match=r"the column after '#' is empty"):
        parse_column(f"{tmp_path}/x.csv#C+")


def test_jsonl_keys_may_be_plain_nested_or_dotted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"id": 1, "pair": {"de": src, "en": tgt}, "with.dot": src} for src, tgt in PAIRS]
    records[0]["pair"]["de"] = "two\nlines"  # type: ignore[index]
    records[1]["pair"]["de"] = None  # type: ignore[index]
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    assert read(f"{path}#pair.de") == ["two lines", "", "", "vier\u2028fünf", ""]
    assert read(f"{path}#pair.en") == [tgt for _, tgt in PAIRS] + [""]
    assert read(f"{path}#with.dot") == [src for src, _ in PAIRS] + [""]


def test_lists_are_joined_by_spaces(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"words": ["Time", "flies"], "labels": [3, 0]}\n{"words": [], "labels": []}\n')
    assert read(f"{path}#words") == ["Time flies", ""]
    assert read(f"{path}#labels") == ["3 0", ""]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ('{"tgt": "b"}', "line 2: has no 'src': instead of 'src' there is only tgt"),
        ('{"src": {"a": 3}}', "line 2: 'src' must be text, but is a dict"),
        ('{"src": ["a", null]}', r"line 2: 'src\[1\]' must be text, but is a NoneType"),
        ('{"src": ["New York"]}', r"line 2: 'src\[0\]' must be a word without spaces, but is 'New York'"),
        ('{"src": ["a", ""]}', r"line 2: 'src\[1\]' must be a word without spaces, but is ''"),
        ('{"src": ["a", "\\ud800"]}', r"line 2: 'src\[1\]' contains an unpaired surrogate"),
        ('{"src": "a", "of": {"b": 1, "b": 2}}', "line 2: has the key 'b' twice: rename all but one"),
        ("[" * 100_000, "line 2: unreadable JSON .it is nested too deeply"),
        ("[1]", "line 2: has no 'src': instead of 'src' there is a list"),
        ('{"src": "\\ud800"}', "line 2: 'src' contains an unpaired surrogate"),
    ],
)
def test_jsonl_errors_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"src": "a"}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        read(f"{path}#src")


def test_csv_cells_are_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('de,en\n"a ""b"", c",007\n\n"two\nlines",NA\nnull,\n')
    assert read(f"{path}#de") == ['a "b", c', "", "two lines", "null"]
    assert read(f"{path}#en") == ["007", "", "NA", ""]
    with pytest.raises(ValueError, match="has no column 'fr'"):
        read(f"{path}#fr")
    path.write_text("de,en\na,b\na,b,c\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 3: has 3 cells, but the header names 2"):
        read(f"{path}#de")
    path.write_text('de,en\na,"b" c\n')
    with pytest.raises(ValueError, match=r"a\.csv, line 2: the cells cannot be separated"):
        read(f"{path}#de")
    path.write_bytes(b"de,en\na,\xff\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 2: not UTF-8"):
        read(f"{path}#de")


def test_all_table_formats_read_the_same_values(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([{"pair": {"de": src, "en": tgt}, "de": src} for src, tgt in PAIRS])
    table.to_parquet(tmp_path / "a.parquet")
    table.remove_columns("pair").to_csv(tmp_path / "a.csv")
    table.save_to_disk(tmp_path / "saved")
    table.to_json(tmp_path / "a.json", lines=False)  # one array of records
    arrow = next((tmp_path / "saved").glob("*.arrow"))
    expected = [src for src, _ in PAIRS]
    assert read(f"{tmp_path / 'a.parquet'}#pair.de") == expected
    assert read(f"{tmp_path / 'a.parquet'}#pair.en") == [tgt for _, tgt in PAIRS]
    assert read(f"{arrow}#de") == expected
    assert read(f"{tmp_path / 'a.json'}#pair.de") == expected
    assert read(f"{tmp_path / 'a.json'}#pair.en") == [tgt for _, tgt in PAIRS]
    assert [text for text in read(f"{tmp_path / 'a.csv'}#de") if text] == [text for text in expected if text]


@pytest.mark.parametrize(("kind", "package"), [("json", None), ("parquet", "pyarrow"), ("arrow", "datasets")])
def test_errors_name_unreadable_tables(
    tmp_path: Path, kind: str, package: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    path = tmp_path / f"bad.{kind}"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(f"{path}#text")
    path.write_text("this is not a table")
    with pytest.raises(ValueError, match=rf"bad.{kind}: cannot be read as .{kind}"):
        read(f"{path}#text")
    if package is None:
        return
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"pip install 'seqlab\[datasets\]'"):
        read(f"{path}#text")


def test_records_are_split_at_newlines_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("one\n", "two\r\nthree", "", "\n\n")))
    column = parse_column(f"{path}#text")
    assert list(column.values()) == ["one", "two three", "", " "]
    assert list(column.blocks(3)) == [["one", "two three", ""], [" "]]
    assert list(column.blocks(3, split_records=True)) == [["one", "two", "three"], ["", "", ""]]


def test_csv_cells_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"de,en\n{'x' * 200_000},y\n")
    assert list(map(len, read(f"{path}#de"))) == [200_000]


@pytest.mark.parametrize("kind", ["tsv", "csv", "tsv.gz"])
def test_the_error_for_a_missing_column_shows_the_first_line(tmp_path: Path, kind: str) -> None:
    table = tmp_path / f"a.{kind}"
    text = ("label,text" if kind == "csv" else "label\ttext") + "\n1"
    table.write_bytes(gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode())
    with pytest.raises(ValueError, match="Its first line is 'label', 'text': if these are names, use one of them"):
        parse_column(str(table))


def test_specs_with_and_without_a_column_are_parsed(tmp_path: Path) -> None:
    path_with_hash = tmp_path / "a#b.txt"
    path_with_hash.write_text("x\n")
    assert read(str(path_with_hash)) == ["x"]
    table = tmp_path / "a#b.tsv"
    table.write_text("x\ty\n")
    assert read(f"{table}#1") == ["y"]
    for spec, message in [
        (str(table), "needs the name of a column"),
        ("corpus.csv", "needs the name of a column"),
        ("corpus.txt#1", "only .tsv, .jsonl, .csv, .conllu, .conll, .json, .parquet, .arrow files have columns"),
        ("corpus.tsv#", "the column after '#' is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            parse_column(spec)


def test_numbers_and_booleans_are_formatted_as_json(tmp_path: Path) -> None:
    rows = [{"stars": 5}, {"stars": 4.5}, {"stars": True}, {"stars": "good"}, {"stars": None}]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(parse_column(f"{tmp_path}/reviews.jsonl#stars").values())
    assert found == ["5", "4.5", "true", "good", ""]
