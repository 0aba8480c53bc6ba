"""Parsing of untrusted JSON, YAML and files: errors are ValueErrors of one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

from seqlab.base.parsing import open_regular, parse_digits, parse_json, read_json, read_regular, validate_type
from seqlab.runs.yaml_parser import MAX_VALUES, parse_value, parse_yaml

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_valid_json_is_parsed_as_by_the_json_module(value: Any) -> None:
    text = json.dumps(value)
    if "\\ud" not in text:
        assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"not JSON \(character 1: "),
        ('{"a": 1,\n 2}', r"not JSON \(line 2, character 2: "),
        (b"\xff", "not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5000, "a number has thousands of digits"),
        ('{"a": -' + "9" * 5000 + "}", "a number has thousands of digits"),
        ('"\\ud800"', "an unpaired surrogate"),
        ('{"\\udfff": 1}', "an unpaired surrogate"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_errors_of_invalid_json_have_one_line_and_a_position(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        parse_json(text)
    assert len(str(raised.value)) < 200


def test_surrogate_pairs_in_json_are_decoded() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


def test_type_errors_name_the_field() -> None:
    @dataclass
    class Inner:
        count: int

    assert validate_type({"count": "3"}, Inner) == Inner(3)
    with pytest.raises(ValueError, match="`count`: Input should be a valid integer"):
        validate_type({"count": []}, Inner)
    with pytest.raises(ValueError, match="Input should be a valid dictionary"):
        validate_type([1], dict[str, Any])


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to a device"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    for read in (read_regular, read_json, open_regular):
        with pytest.raises(ValueError, match=f"f: is a {kind.rpartition(' ')[2]}, but must be a regular file"):
            read(path)


def test_files_above_the_size_limit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 10)
    assert read_regular(tmp_path / "f", 10) == b"x" * 10
    with pytest.raises(ValueError, match="f: is larger than 9 bytes"):
        read_regular(tmp_path / "f", 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train_src: 2024-02-30", {"train_src": "2024-02-30"}),
        ("train_src: 2024-02-03", {"train_src": "2024-02-03"}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: 1e-3", {"a": "1e-3"}),
    ],
)
def test_yaml_dates_and_floats_without_a_dot_are_strings(text: str, value: Any) -> None:
    assert parse_yaml(text, "f") == value


ALIAS_BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
"""A few hundred bytes of YAML aliases that expand to 9^9 values."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"f, line 2: not YAML \(`a` is given twice\)"),
        ("x:\n  a: !!int abc", r"f, line 2: not YAML \('abc': invalid literal"),
        ("a: " + "9" * 5000, r"f, line 1: not YAML \('9999"),
        ("a: !!timestamp abc", "f, line 1: not YAML"),
        ("a: !!binary 'a'", "f, line 1: not YAML"),
        ("a: !!python/object:os.x {}", "f, line 1: not YAML"),
        ("[" * 3000, "f: not readable as YAML .it is nested too deeply"),
        ("{a: " * 3000, "f: not readable as YAML .it is nested too deeply"),
        ("? {a: b}\n: c", "f, line 1: not YAML"),
        ("a: &a [*a]", f"f: not readable as YAML .it has more than {MAX_VALUES:,} values after expanding aliases"),
        (ALIAS_BOMB, "values after expanding aliases"),
        ("a: [", "f, line 1: not YAML"),
        ("a: \0", "f: not YAML"),
    ],
    ids=lambda each: each[:20],
)
def test_errors_of_invalid_yaml_name_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text, "f")


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1), ("9" * 5000, None), ("\u0663", None), ("\u00b2", None)]
    + [(text, None) for text in ("", "-1", "1.0", " 1", "1_000")]
    + [(None, None)],
)
def test_parse_digits(text: str | None, number: int | None) -> None:
    assert parse_digits(text) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+1", -20.0),
        ("1.5e2", 150.0),
        ("true", True),
        ("8x8", "8x8"),
        ("1e", "1e"),
        ("1.2.3e4", "1.2.3e4"),
    ],
)
def test_values_of_the_command_line_are_numbers_also_without_a_point(text: str, value: object) -> None:
    """YAML 1.1 takes 1e-3 for text."""
    parsed = parse_value(text, "f")
    assert (type(parsed), parsed) == (type(value), value)
