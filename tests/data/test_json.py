"""JSON has one rule in all readers: tables, columns of texts, lists of recordings, files of runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqlab.base.parsing import parse_json, read_json
from seqlab.data.columns import parse_column
from seqlab.data.manifests import open_manifest
from seqlab.data.tables import RawTable

READERS: dict[str, Callable[[Path], Any]] = {
    "table": lambda path: list(RawTable.read([str(path)], ["text"]).columns["text"].names),
    "column": lambda path: list(parse_column(f"{path}#text").values()),
    "recordings": lambda path: [entry.text for entry in open_manifest(str(path)).entries()],
}
INVALID = {
    '{"audio": "a", "text": "x", "text": "y"}': "has the key 'text' twice: rename all but one",
    '{"audio": "a", "text": "x", "more": {"k": 1, "k": 2}}': "has the key 'k' twice: rename all but one",
    '{"audio": "a", "text": "x",}': "not JSON",
    "{'audio': 'a', 'text': 'x'}": "not JSON",
    '{"audio": "a", "text": "x\ty"}': "not JSON",
    '{"audio": "a", "text": "x", "id": ' + "1" * 5000 + "}": "a number has thousands of digits",
    '{"audio": "a", "text": "\\ud800"}': "an unpaired surrogate",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("line", INVALID, ids=lambda line: line[:40])
def test_invalid_records_are_refused_with_file_and_line(reader: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"audio": "a", "text": "x"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"t\.jsonl, line 2: ") as raised:
        READERS[reader](path)
    assert INVALID[line] in str(raised.value)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", ['"x\\ud83d\\ude00"', "12345678901234567890123", "0.1", '"\\u0000"', "true"])
def test_values_are_read_alike_and_with_all_digits(reader: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'\ufeff{{"audio": "a", "text": {text}}}\n', encoding="utf-8")
    value = json.loads(text)
    expected = value if isinstance(value, str) else text
    assert READERS[reader](path) == [expected]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_infinite_numbers_and_nan_are_no_text(number: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"text": "x"}}\n{{"text": {number}}}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"t\.jsonl, line 2: 'text' must be text, but is .*: write null"):
        list(parse_column(f"{path}#text").values())


@pytest.mark.parametrize("reader", ["table", "column"])
def test_a_duplicate_key_in_an_array_is_named_with_its_record(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('[{"text": "x"},\n {"text": "y"},\n {"text": "z", "text": "z"}]', encoding="utf-8")
    with pytest.raises(ValueError, match=r"t.json, record 3: cannot be read as .json \(has the key 'text' twice"):
        READERS[reader](path)


def test_files_of_runs_have_the_same_rule(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has the key 'a' twice"):
        parse_json('{"a": 1, "a": 2}')
    (tmp_path / "run.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "run.json") == {"a": 1}
