"""`seqlab translate` with randomly initialized models: line counts, files, options, alignments and errors."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from seqlab.tasks.translation.translator import Translator

from .conftest import start_command

LINES = [
    "abc def",
    "",
    "ein\u2028zwei",
    "a\u0085b\x0bc\x0cd\x1ce",
    "z",
    "日本語 🙂",
    "   ",
    "\ufeff",
    "<s> </s> <pad> ▁",
    "long. " * 40,
    "tab\tand\rreturn inside",
    "last",
]
FAST = ("--beam_size", "1", "--max_length", "12")


def encode_lines(lines: list[str], end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def test_half_characters_are_counted(seqlab, run_dir: Path) -> None:
    result = seqlab("translate", run_dir, "--beam_size", "1", "--max_length", "12", stdin=encode_lines(LINES))
    count = sum("\ufffd" in line for line in result.out.decode().split("\n"))
    assert f"warning: {count} of 12 translations have U+FFFD" in result.err if count else "U+FFFD" not in result.err


def test_half_characters_of_n_best_lists_are_counted(seqlab, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_self: Translator, _segments: object, found: list[list[object]]) -> Iterator[list[str]]:
        return ([f"x{number}" + "\ufffd" * (number > 0) for number in range(len(n_best))] for n_best in found)

    monkeypatch.setattr(Translator, "_decode", decode)
    options = ("--json", "--num_hypotheses", "3", "--beam_size", "3", "--max_length", "12")
    result = seqlab("translate", run_dir, *options, stdin=b"a dog\na cat\n")
    assert "warning: 4 hypotheses after the best ones have U+FFFD" in result.err


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("beam_size", ["1", "3"])
def test_output_has_as_many_lines_as_the_input(seqlab, run_dir: Path, end: str, beam_size: str) -> None:
    result = seqlab(
        "translate", run_dir, "--beam_size", beam_size, "--max_length", "12", stdin=encode_lines(LINES, end)
    )
    assert result.status == 0
    assert result.out.endswith(b"\n")
    lines = result.out.decode().removesuffix("\n").split("\n")
    assert len(lines) == len(LINES)
    assert lines[1] == ""
    assert not any(ord(character) < 32 for line in lines for character in line)


def test_the_last_line_may_lack_a_newline(seqlab, run_dir: Path) -> None:
    expected = seqlab("translate", run_dir, *FAST, stdin=b"abc\nxyz\n")
    assert seqlab("translate", run_dir, *FAST, stdin=b"abc\nxyz").out == expected.out
    assert seqlab("translate", run_dir, *FAST, stdin=b"").out == b""
    assert seqlab("translate", run_dir, *FAST, stdin=b"\n").out == b"\n"


def test_translations_do_not_depend_on_blocks_and_batches(seqlab, run_dir: Path) -> None:
    expected = seqlab("translate", run_dir, *FAST, stdin=encode_lines(LINES))
    for options in (("--buffer_lines", "1"), ("--buffer_lines", "5"), ("--batch_tokens", "16"), ("--threads", "1")):
        assert seqlab("translate", run_dir, *FAST, *options, stdin=encode_lines(LINES)).out == expected.out


def test_outputs_at_the_length_limit_are_counted(seqlab, run_dir: Path) -> None:
    """One message on standard error has the count of all blocks."""
    lines = [line for line in LINES if line.strip()]
    options = ("--beam_size", "1", "--max_length", "2", "--buffer_lines", "3", "--json")
    result = seqlab("translate", run_dir, *options, stdin=encode_lines(lines))
    cut = sum(not json.loads(line)["hypotheses"][0]["finished"] for line in result.out.splitlines())
    assert cut > 3
    assert f"{cut} of {len(lines)} translations reached the length limit" in result.err
    assert result.err.count("are incomplete") == 1
    assert "are incomplete" not in seqlab("translate", run_dir, *FAST, stdin=b"\n").err


def test_compressed_input_and_output_files(seqlab, run_dir: Path, tmp_path: Path) -> None:
    expected = seqlab("translate", run_dir, *FAST, stdin=encode_lines(LINES)).out
    (tmp_path / "in.gz").write_bytes(gzip.compress(encode_lines(LINES)))
    result = seqlab("translate", run_dir, *FAST, "--input", tmp_path / "in.gz", "--output", tmp_path / "out")
    assert (result.status, result.out) == (0, b"")
    assert (tmp_path / "out").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.gz", "out"]


def test_a_column_of_a_table_is_translated_as_lines(seqlab, run_dir: Path, tmp_path: Path) -> None:
    words = ["abc", "long. " * 40, "", "z"]
    (tmp_path / "words.tsv").write_text("".join(f"{word}\tx\n" for word in ["word", *words]), encoding="utf-8")
    options = (*FAST, "--buffer_lines", "3")
    result = seqlab("translate", run_dir, *options, "--input", f"{tmp_path}/words.tsv#word")
    assert result.out == seqlab("translate", run_dir, *options, stdin=encode_lines(words)).out
    assert "line 3 is too long for the model" in result.err  # the header is line 1
    result = seqlab("translate", run_dir, *options, "--input", f"{tmp_path}/words.tsv#sound")
    assert (result.status, result.out) == (2, b"")
    assert "words.tsv: has no column 'sound', only word, x." in result.err


def test_an_output_file_is_complete_or_unchanged(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before\n", encoding="utf-8")
    options = (*FAST, "--buffer_lines", "1", "--output", tmp_path / "out")
    result = seqlab("translate", run_dir, *options, stdin=b"abc\n\xff\n")
    assert result.status == 2
    assert "seqlab: error: standard input, line 2: not UTF-8" in result.err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "before\n"
    [unfinished] = [path for path in tmp_path.iterdir() if path.name != "out"]
    assert f"the part written so far is in {unfinished}" in result.err
    assert unfinished.read_bytes().count(b"\n") == 1


def test_output_devices_are_not_replaced(seqlab, run_dir: Path) -> None:
    assert seqlab("translate", run_dir, *FAST, "--output", "/dev/null", stdin=b"abc\n").status == 0
    assert Path("/dev/null").is_char_device()


def test_json_has_all_fields(seqlab, run_dir: Path) -> None:
    options = ("--beam_size", "3", "--num_hypotheses", "3", "--max_length", "12", "--json")
    result = seqlab("translate", run_dir, *options, stdin=encode_lines(LINES))
    records = [json.loads(line) for line in result.out.decode().removesuffix("\n").split("\n")]
    assert len(records) == len(LINES)
    plain = seqlab("translate", run_dir, "--beam_size", "3", "--max_length", "12", stdin=encode_lines(LINES))
    assert [record["hypotheses"][0]["text"] for record in records] == plain.out.decode().split("\n")[:-1]
    assert [record["truncated"] for record in records] == [len(line) > 31 for line in LINES]
    for record, line in zip(records, LINES, strict=True):
        ranks = [(hypothesis["finished"], hypothesis["score"]) for hypothesis in record["hypotheses"]]
        assert record["truncated"] or ranks == sorted(ranks, reverse=True)
        assert len(ranks) == 3 or not line.strip("\ufeff ")


def test_recurrent_runs_and_ensembles_of_families(seqlab, run_dir: Path, recurrent_run_dir: Path) -> None:
    single = seqlab("translate", recurrent_run_dir, "--beam_size", "3", "--max_length", "12", stdin=encode_lines(LINES))
    small = seqlab(
        *("translate", recurrent_run_dir, "--beam_size", "3", "--max_length", "12", "--batch_tokens", "1"),
        stdin=encode_lines(LINES),
    )
    assert single.status == 0
    assert single.out.count(b"\n") == len(LINES)
    assert small.out == single.out
    both = seqlab("translate", run_dir, recurrent_run_dir, *FAST, stdin=encode_lines(LINES))
    assert both.status == 0
    assert both.out.count(b"\n") == len(LINES)


@pytest.mark.parametrize("name", ["run_dir", "recurrent_run_dir"])
@pytest.mark.parametrize("beam_size", ["1", "3"])
def test_alignments_are_distributions_over_the_source(
    seqlab, name: str, beam_size: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(name)
    options = ("--beam_size", beam_size, "--max_length", "12")
    plain = seqlab("translate", run, *options, stdin=encode_lines(LINES))
    aligned = seqlab("translate", run, *options, "--alignment", tmp_path / "a.jsonl", stdin=encode_lines(LINES))
    assert aligned.out == plain.out
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert len(records) == len(LINES)
    for record, line in zip(records, LINES, strict=True):
        assert len(record["pieces"]) >= (1 if line.strip("\ufeff ") else 0)
        for piece in record["pieces"]:
            assert piece["src"][-1] == "</s>"
            assert len(piece["weights"]) == len(piece["tgt"])
            for row in piece["weights"]:
                assert len(row) == len(piece["src"])
                assert sum(row) == pytest.approx(1, abs=1e-2)
    assert [len(record["pieces"]) > 1 for record in records] == [len(line) > 31 for line in LINES]
    assert seqlab("plot", tmp_path / "a.jsonl", "--out", tmp_path / "a.png").status == 0
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_alignments_do_not_depend_on_the_number_of_processes(seqlab, run_dir: Path, tmp_path: Path) -> None:
    text = encode_lines([f"abc {number}" for number in range(240)])
    for count in ("1", "2"):
        path = tmp_path / count
        seqlab(
            "translate",
            run_dir,
            *FAST,
            "--processes",
            count,
            "--alignment",
            path,
            "--output",
            f"{path}.out",
            stdin=text,
        )
    assert (tmp_path / "2").read_bytes() == (tmp_path / "1").read_bytes()
    assert (tmp_path / "2").read_bytes().count(b"\n") == 240


def test_an_alignment_needs_a_separate_file(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a\n")
    for options in (
        ["--alignment", "-"],
        ["--alignment", tmp_path / "o", "--output", tmp_path / "o"],
        ["--alignment", tmp_path / "o", "--output", tmp_path / "x" / ".." / "o"],
        ["--alignment", tmp_path / "in", "--input", tmp_path / "in"],
    ):
        result = seqlab("translate", run_dir, *options, stdin=b"abc\n")
        message = "--alignment needs a file" if "-" in options else "--alignment and "
        assert (result.status, message in result.err) == (2, True)
    assert (tmp_path / "in").read_text() == "a\n"


def test_input_files_are_not_overwritten(seqlab, run_dir: Path, tmp_path: Path) -> None:
    text = tmp_path / "in.tsv"
    (tmp_path / "x").mkdir()
    for options in (
        ["--input", text, "--output", tmp_path / "x" / ".." / "in.tsv"],
        ["--input", f"{text}#0", "--output", text],
        ["--input", tmp_path / "other", "--prefix", text, "--output", text],
    ):
        text.write_text("abc\tb\n")
        (tmp_path / "other").write_text("abc\n")
        result = seqlab("translate", run_dir, *options)
        assert (result.status, "name another file" in result.err) == (2, True)
        assert text.read_text() == "abc\tb\n"
    assert seqlab("translate", run_dir, "--input", os.devnull, "--output", os.devnull).status == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--line", "5"], "a.jsonl has no line 5."),
        (["--line", "0"], "`--line` must be at least 1, but is 0 instead."),
        (["--line", "2"], "line 2: has 0 translated segments, but no segment 1."),
        (["--line", "3"], "line 3: is not an output of `seqlab translate --alignment` or `seqlab transcribe --json`."),
        (["--line", "4"], "line 4: is not an output of `seqlab translate --alignment` or `seqlab transcribe --json`."),
    ],
)
def test_invalid_lines_of_plots_are_reported(seqlab, options: list[str], message: str, tmp_path: Path) -> None:
    pieces = ('{"pieces": [{"src": [], "tgt": [], "weights": []}]}', '{"pieces": []}', "[]")
    text = '{"pieces": [{"src": ["a"], "tgt": ["b"], "weights": [["x"]]}]}'
    (tmp_path / "a.jsonl").write_text("".join(f"{line}\n" for line in (*pieces, text)))
    result = seqlab("plot", tmp_path / "a.jsonl", "--out", tmp_path / "a.png", *options)
    assert result.status == 2
    assert message in result.err


def test_several_hypotheses_need_json(seqlab, run_dir: Path) -> None:
    result = seqlab("translate", run_dir, "--num_hypotheses", "2", stdin=b"abc\n")
    assert (result.status, result.out) == (2, b"")
    assert result.err == "seqlab: error: --num_hypotheses above 1 needs --json\n"


def test_ensembles_of_runs_and_of_checkpoints(seqlab, run_dir: Path, other_run_dir: Path) -> None:
    one = seqlab("translate", run_dir, *FAST, "--json", stdin=encode_lines(LINES))
    with_itself = seqlab("translate", run_dir, run_dir, *FAST, stdin=encode_lines(LINES))
    assert with_itself.out.decode().split("\n")[:-1] == [
        json.loads(line)["hypotheses"][0]["text"] for line in one.out.decode().split("\n")[:-1]
    ]
    both = seqlab("translate", run_dir, other_run_dir, *FAST, "--json", stdin=encode_lines(LINES))
    assert both.status == 0
    assert both.out != one.out
    steps = seqlab("translate", run_dir, "--checkpoint", "10", "20", *FAST, "--json", stdin=encode_lines(LINES))
    assert steps.status == 0
    assert steps.out != one.out


def test_the_best_checkpoint_is_the_default(seqlab, run_dir: Path) -> None:
    outputs = {
        name: seqlab("translate", run_dir, "--checkpoint", name, *FAST, "--json", stdin=b"abc\n").out
        for name in ("best", "10", "last", "20")
    }
    assert outputs["best"] == outputs["10"] != outputs["20"] == outputs["last"]


def test_prefixes_are_forced_line_by_line(seqlab, run_dir: Path, tmp_path: Path) -> None:
    prefixes = ["xyz", "", "a b"]
    (tmp_path / "prefix").write_bytes(encode_lines(prefixes))
    options = (*FAST, "--prefix", tmp_path / "prefix", "--buffer_lines", "2")
    result = seqlab("translate", run_dir, *options, stdin=b"abc\ndef\nghi\n")
    lines = result.out.decode().split("\n")[:-1]
    assert all(line.startswith(prefix) for line, prefix in zip(lines, prefixes, strict=True))
    more = seqlab("translate", run_dir, *options, stdin=b"abc\ndef\n")
    assert more.status == 2
    assert "has 3 lines, but 2 were translated" in more.err
    fewer = seqlab("translate", run_dir, *options, stdin=b"a\nb\nc\nd\n")
    assert fewer.status == 2
    assert "has 3 lines, but the input has more" in fewer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam_size", "0"], "`--beam_size` must be at least 1, but is 0 instead."),
        (["--beam_size", "x"], "`--beam_size` must be a valid integer, but is 'x' instead."),
        (["--length_penalty", "x"], "`--length_penalty` must be 'plain' or 'gnmt', but is 'x' instead."),
        (["--bean_size", "3"], "there is no option `--bean_size`; the nearest is `--beam_size`"),
        (["--beam", "3"], "there is no option `--beam`; the nearest is `--beam_size`"),
        (["--batch_size", "3"], "there is no option `--batch_size`; the nearest is `--batch_tokens`"),
        (["--sampling", "3"], "there is no option `--sampling` (see"),
        (["--buffer_lines", "0"], "`--buffer_lines` must be at least 1, but is 0 instead."),
        (["--batch_tokens", "0"], "`--batch_tokens` must be at least 1, but is 0 instead."),
        (["--threads", "0"], "`--threads` must be at least 1, but is 0 instead."),
        (["--threads", "x"], "`--threads` must be a valid integer, but is 'x' instead."),
        (["--checkpoint", "30"], "`checkpoint` must be `best`, `last` or one of 10, 20, but is `30` instead."),
        (["--input", "nowhere"], "nowhere: there is no such file."),
        (["--output", "nowhere/out"], "error: nowhere/out: No such file or directory"),
        (["--model.d_model", "3"], "there is no option `--model.d_model`"),
    ],
)
def test_errors_of_invalid_arguments_have_one_line(seqlab, run_dir: Path, options: list[str], message: str) -> None:
    result = seqlab("translate", run_dir, *options, stdin=b"abc\n")
    assert (result.status, result.out) == (2, b"")
    assert result.err.startswith("seqlab: error: ")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_folders_that_are_not_runs_are_refused(seqlab, tmp_path: Path) -> None:
    assert seqlab("translate", tmp_path / "none").err == f"seqlab: error: There is no run folder {tmp_path}/none.\n"
    assert "is not a run folder" in seqlab("translate", tmp_path).err


def test_a_closed_output_pipe_ends_the_command(run_dir: Path, tmp_path: Path) -> None:
    stdin, out, errors = (tmp_path / name for name in ("in", "out", "errors"))
    os.mkfifo(stdin)
    os.mkfifo(out)
    process = start_command(["translate", run_dir, *FAST, "--buffer_lines", "1"], stdin, out, errors)
    with stdin.open("wb", buffering=0) as lines:
        with out.open("rb") as translations:
            lines.write(b"abc\n")
            assert translations.readline().endswith(b"\n")  # output is written before the input ends
        lines.write(b"abc\n" * 3)
    process.join(60)
    assert (process.exitcode, errors.read_text("utf-8")) == (141, "")


def test_a_split_line_is_reported_with_its_line_number(seqlab, run_dir: Path) -> None:
    lines = ["abc", "def", "ghi", "long. " * 40, "z"]
    result = seqlab("translate", run_dir, "--buffer_lines", "2", *FAST, stdin=encode_lines(lines))
    assert result.err.count("too long for the model") == 1
    assert "line 4 is too long for the model" in result.err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_out_of_memory_errors_suggest_options(seqlab, run_dir: Path, monkeypatch, error: BaseException) -> None:
    def fail(batch, need_attention=False):
        raise error

    monkeypatch.setattr("seqlab.models.transformer.Transformer.start", lambda self, *rest: fail(*rest))
    result = seqlab("translate", run_dir, *FAST, stdin=b"abc\n")
    assert result.status == 1
    assert result.err == (
        "seqlab: error: memory ran out: lower `--batch_tokens` or `--buffer_lines` or `--max_line_bytes` or "
        "`--beam_size`\n"
    )


def test_error_of_text_instead_of_a_second_run_explains_the_input(seqlab, run_dir: Path) -> None:
    result = seqlab("translate", run_dir, "two hundred")
    assert (result.status, result.out) == (2, b"")
    assert "'two hundred' is not a run folder" in result.err
    assert "`echo 'TEXT' | seqlab translate RUN`, or from --input FILE" in result.err


def test_help_of_a_run_hides_options_that_its_model_does_not_support(seqlab, run_dir: Path, tmp_path: Path) -> None:
    full_help, run_help = (seqlab("translate", *run, "--help").out.decode() for run in ([], [run_dir]))
    for option in ("--iterations", "--revise", "--pseudo_likelihood"):
        assert option in full_help
        assert option not in run_help
    for option in ("--beam_size", "--coverage_penalty", "--output"):
        assert option in run_help
    (tmp_path / "config.yaml").write_text(
        "data: {train_src: a, train_tgt: b}\nmodel: {family: transformer_ctc}\nobjective: {family: ctc}\n"
    )
    ctc_help = seqlab("translate", tmp_path, "--help").out.decode()
    assert "--alignment" in run_help
    assert "--alignment" not in ctc_help
    assert "--beam_size" in ctc_help
