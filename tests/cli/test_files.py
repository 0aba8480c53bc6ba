"""Input files of commands: lines, columns, locations in messages, and outputs that are also inputs."""

import gzip
import json
import re
from pathlib import Path

import pytest

from seqlab.inference.files import Input, open_input, refuse_same_file


def test_a_block_is_yielded_before_the_next_line_is_read() -> None:
    read_lines = []

    def lines():
        for i in range(5):
            read_lines.append(i)
            yield str(i)

    blocks = Input("x", lines()).blocks(2)
    assert next(blocks) == ["0", "1"]
    assert read_lines == [0, 1]
    assert list(blocks) == [["2", "3"], ["4"]]


def test_a_block_size_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="`buffer_lines` must be at least 1, but is 0"):
        Input("x", iter([])).blocks(0)


@pytest.mark.parametrize(
    ("spec", "lines", "line_numbers"),
    [
        ("plain", ["a\u2028b\x85c", "", "\x0bd\re"], [1, 2, 3]),
        ("plain.gz", ["a\u2028b\x85c", "", "\x0bd\re"], [1, 2, 3]),
        ("words.tsv#lemma+tags", ["gehen\tV;PST", "Haus\tN"], [2, 3]),
        ("words.tsv#1", ["tags", "V;PST", "N"], [1, 2, 3]),
        ("words.jsonl#word.form", ["ging hin", "Häuser"], [1, 2]),
        ("nr#1", ["one"], [1]),
        ("trees.conllu#form", ["go home", "now"], [1, 4]),
    ],
)
def test_text_files_and_columns_are_read_with_their_line_numbers(
    tmp_path: Path, spec: str, lines: list[str], line_numbers: list[int]
) -> None:
    text = "a\u2028b\x85c\r\n\n\x0bd\re".encode()
    (tmp_path / "plain").write_bytes(text)
    (tmp_path / "plain.gz").write_bytes(gzip.compress(text))
    (tmp_path / "words.tsv").write_text("lemma\ttags\ngehen\tV;PST\nHaus\tN\n", encoding="utf-8")
    words = [{"word": {"form": form}} for form in ("ging\nhin", "Häuser")]
    (tmp_path / "words.jsonl").write_text("".join(f"{json.dumps(word)}\n" for word in words), encoding="utf-8")
    (tmp_path / "trees.conllu").write_text("1\tgo\n2\thome\n\n# comment\n1\tnow\n\n")
    (tmp_path / "nr#1").write_text("one\n", encoding="utf-8")
    with open_input(f"{tmp_path}/{spec}") as source:
        assert list(source.lines) == lines
        locations = [f"{tmp_path}/{spec}, line {number}" for number in line_numbers]
        assert source.locations(0, len(lines)) == locations
        assert source.locations(1, len(lines) - 1) == locations[1:]


@pytest.mark.parametrize(("kind", "example"), [("tsv", "0"), ("jsonl", "text"), ("conllu", "form"), ("tsv.gz", "0")])
def test_tables_need_a_column_unless_read_as_text(tmp_path: Path, kind: str, example: str) -> None:
    table = tmp_path / f"a.{kind}"
    table.write_bytes((gzip.compress if table.suffix == ".gz" else bytes)(b"1\tHaus\n\n"))
    message = f"a .{kind.removesuffix('.gz')} file needs the name of a column, for example {table}#{example}"
    with pytest.raises(ValueError, match=re.escape(message)), open_input(str(table)):
        pass
    with open_input(str(table), tables_as_text=True) as source:
        assert list(source.lines) == ["1\tHaus", ""]


def test_damaged_gzip_inputs_are_reported_with_their_name(tmp_path: Path) -> None:
    compressed = gzip.compress("".join(f"line {i}\n" for i in range(1000)).encode())
    for damaged in (compressed[:-9], compressed[: len(compressed) // 2], b"no gzip"):
        (tmp_path / "a.gz").write_bytes(damaged)
        with (
            open_input(f"{tmp_path}/a.gz") as source,
            pytest.raises(ValueError, match=r"a\.gz: cannot be unpacked, the file is damaged or incomplete"),
        ):
            list(source.lines)


@pytest.mark.parametrize(
    "command",
    [
        ["translate", "RUN", "--prefix", "IN", "--output", "IN"],
        ["translate", "RUN", "--alignment", "IN", "--input", "IN"],
        ["label", "RUN", "--input", "IN#0", "--output", "IN"],
        ["generate", "RUN", "--prompts", "IN#0", "--output", "IN"],
        ["perplexity", "RUN", "IN", "--per_line", "--output", "IN"],
        ["score", "RUN", "--src", "IN#0", "--tgt", "other", "--output", "IN"],
        ["score", "RUN", "--src", "other", "--tgt", "other", "IN#1", "--likeliest", "--output", "IN"],
        ["distill", "RUN", "--src", "other", "--ref", "IN#1", "--out", "IN"],
    ],
    ids=" ".join,
)
def test_an_output_that_is_also_an_input_is_refused(seqlab, tmp_path: Path, command: list[str]) -> None:
    text = tmp_path / "in.tsv"
    text.write_text("a\tb\n")
    result = seqlab(*(each.replace("IN", str(text)).replace("RUN", str(tmp_path)) for each in command))
    assert (result.status, "name another file" in result.err) == (2, True)
    assert text.read_text() == "a\tb\n"


def test_input_and_output_are_compared_by_file_not_by_column(tmp_path: Path) -> None:
    for name in ("notes", "notes#1", "a#b.tsv"):
        (tmp_path / name).write_text("a\tb\n")
    with pytest.raises(ValueError, match=r"--output and the input are both .*: name another file"):
        refuse_same_file("--output", str(tmp_path / "a#b.tsv"), {"the input": str(tmp_path / "a#b.tsv#0")})
    refuse_same_file("--output", str(tmp_path / "notes"), {"the input": str(tmp_path / "notes#1")})
    refuse_same_file("--output", "/dev/null", {"the input": "/dev/null"})
    refuse_same_file("--output", "-", {"the input": "-"})
