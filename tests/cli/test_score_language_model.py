"""`seqlab score` for language models: lines, continuations, the most probable of several lines, and errors."""

import json
import math
from pathlib import Path

import pytest
from reference.tiny_language_models import FAMILIES, LINES, TinyRuns, write_uniform_run

from seqlab.tasks.language_modelling.language_model import load_language_model
from seqlab.text import WordsConfig

PROMPTS = ["dog sees", "", "die Ka", "größer\u2028", "a"]
FIRST = [" a", "der", "tze läuft", "", "\tblorp"]
SECOND = [" the", "die Katze", "tzen", " dog", "b"]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write prompts and two files of lines; the last line of `two` has no newline."""
    for name, lines in (("prompts", PROMPTS), ("one", FIRST), ("two", SECOND)):
        (tmp_path / name).write_bytes("\n".join(lines).encode() + (b"" if name == "two" else b"\n"))
    return {name: tmp_path / name for name in ("prompts", "one", "two")}


def parse_numbers(out: bytes) -> list[float]:
    return [float(line) for line in out.decode().removesuffix("\n").split("\n")]


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_lines_and_continuations_match_the_python_interface(
    seqlab, runs: TinyRuns, files: dict[str, Path], family: str
) -> None:
    run = load_language_model(runs(family))
    lines = seqlab("score", runs(family), "--tgt", files["one"])
    assert (lines.status, lines.err) == (0, "")
    assert parse_numbers(lines.out) == pytest.approx([score.log_prob for score in run.score(FIRST)], abs=1e-5)
    continuations = seqlab("score", runs(family), "--src", files["prompts"], "--tgt", files["one"])
    assert parse_numbers(continuations.out) == pytest.approx([s.log_prob for s in run.score(FIRST, PROMPTS)], abs=1e-5)


def test_scores_do_not_depend_on_blocks_and_batches(
    seqlab, runs: TinyRuns, files: dict[str, Path], tmp_path: Path
) -> None:
    arguments = ("score", runs("gru_lm"), "--src", files["prompts"], "--tgt", files["one"])
    expected = parse_numbers(seqlab(*arguments).out)
    for options in (("--buffer_lines", "2"), ("--batch_tokens", "1"), ("--threads", "1"), ("--precision", "fp32")):
        assert parse_numbers(seqlab(*arguments, *options).out) == pytest.approx(expected, abs=2e-6)
    assert seqlab(*arguments, "--output", tmp_path / "scores").out == b""
    assert parse_numbers((tmp_path / "scores").read_bytes()) == pytest.approx(expected)


def test_output_has_as_many_lines_as_the_input(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    for content, count in ((b"", 0), (b"\n", 1), (b"\n\na", 3), ("a\u2028b\x85c\n\x0b\n".encode(), 2)):
        (tmp_path / "lines").write_bytes(content)
        result = seqlab("score", runs("ngram_lm"), "--tgt", tmp_path / "lines")
        assert (result.status, result.out.count(b"\n")) == (0, count)


def test_json_has_tokens_and_unknown_items(seqlab, runs: TinyRuns, files: dict[str, Path]) -> None:
    run = load_language_model(runs("ngram_lm", "words"))
    result = seqlab("score", runs("ngram_lm", "words"), "--src", files["prompts"], "--tgt", files["one"], "--json")
    records = [json.loads(line) for line in result.out.decode().removesuffix("\n").split("\n")]
    for record, score in zip(records, run.score(FIRST, PROMPTS), strict=True):
        assert record["log_prob"] == pytest.approx(score.log_prob)
        assert record["token_log_probs"] == pytest.approx(score.token_log_probs)
        assert (record["num_tokens"], record["unknown"]) == (score.num_tokens, score.unknown)
    assert records[4]["unknown"] == ["blorp"]


@pytest.mark.parametrize("tokenizer", ["bpe", "words"])
def test_likeliest_compares_complete_lines(seqlab, runs: TinyRuns, files: dict[str, Path], tokenizer: str) -> None:
    """Scores of continuations are not comparable: tokens may cross the end of the prompt."""
    run_dir = runs("transformer_lm", tokenizer)
    run = load_language_model(run_dir)
    candidates = ("--tgt", files["one"], files["two"], "--likeliest")
    seam = " " if tokenizer == "words" else ""
    with_seam = [prompt and f"{prompt}{seam}" for prompt in PROMPTS]
    for prompts, options in (([""] * len(FIRST), ()), (with_seam, ("--src", files["prompts"]))):
        one, two = (
            [
                score.log_prob
                for score in run.score([prompt + line for prompt, line in zip(prompts, lines, strict=True)])
            ]
            for lines in (FIRST, SECOND)
        )
        expected = [1 if first >= second else 2 for first, second in zip(one, two, strict=True)]
        result = seqlab("score", run_dir, *options, *candidates)
        assert result.out.decode() == "".join(f"{number}\n" for number in expected)
        as_json = seqlab("score", run_dir, *options, *candidates, "--json").out.decode().splitlines()
        assert [json.loads(line)["likeliest"] for line in as_json] == expected
        assert [json.loads(line)["log_probs"][1] for line in as_json] == pytest.approx(two)


def test_ties_choose_the_first_line(seqlab, runs: TinyRuns, files: dict[str, Path]) -> None:
    result = seqlab("score", runs("rnn_lm"), "--tgt", files["one"], files["one"], "--likeliest")
    assert result.out == b"1\n" * len(FIRST)


def test_unknown_words_have_no_score_without_a_spelling_model(seqlab, tmp_path: Path, files: dict[str, Path]) -> None:
    run_dir = write_uniform_run(tmp_path / "run", LINES, WordsConfig(), has_spelling_model=False)
    plain = seqlab("score", run_dir, "--tgt", files["one"]).out.decode().splitlines()
    assert [line == "n/a" for line in plain] == [False, False, True, False, True]
    assert float(plain[3]) == pytest.approx(-math.log(len({w for line in LINES for w in line.split()}) + 2), abs=1e-6)
    as_json = seqlab("score", run_dir, "--tgt", files["one"], "--json").out.decode().splitlines()
    assert [json.loads(line)["log_prob"] is None for line in as_json] == [line == "n/a" for line in plain]
    compared = seqlab("score", run_dir, "--tgt", files["one"], files["two"], "--likeliest").out.decode().splitlines()
    assert compared == ["1", "1", "n/a", "1", "n/a"]


def test_lines_longer_than_the_context_are_scored_with_a_warning(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\n" + "die Katze läuft " * 9 + "\n", encoding="utf-8")
    result = seqlab("score", runs("transformer_lm"), "--tgt", tmp_path / "lines")
    assert (result.status, result.out.count(b"\n")) == (0, 2)
    assert "1 of 2 lines are longer than the model's context" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--tgt", "one", "two"],
            "`--likeliest` needs several files after `--tgt`, and several files need `--likeliest`",
        ),
        (
            ["--tgt", "one", "--likeliest"],
            "`--likeliest` needs several files after `--tgt`, and several files need `--likeliest`",
        ),
        (["--tgt", "one", "short", "--likeliest"], "one has 5 lines but"),
        (["--src", "short", "--tgt", "one"], "short has 2 lines but"),
        (["--tgt", "nowhere"], "nowhere: there is no such file."),
        (["--tgt", "bad"], "line 2: not UTF-8"),
        (["--src", "prompts"], "the following arguments are required: --tgt"),
        (["--tgt", "one", "--engine", "ctranslate2"], "is a language model, which has no option `--engine`"),
        (["--tgt", "one", "--quantization", "int8"], "is a language model, which has no option `--quantization`"),
        (["--tgt", "one", "--processes", "2"], "is a language model, which has no option `--processes`"),
        (["--tgt", "one", "--batch_tokens", "0"], "`--batch_tokens` must be at least 1, but is 0 instead."),
        (["--tgt", "one", "--buffer_lines", "0"], "`--buffer_lines` must be at least 1, but is 0 instead."),
    ],
)
def test_invalid_arguments_are_reported(
    seqlab, runs: TinyRuns, files: dict[str, Path], arguments: list[str], message: str
) -> None:
    folder = files["one"].parent
    (folder / "short").write_bytes(b"a\nb\n")
    (folder / "bad").write_bytes(b"a\n\xff\n")
    names = {path.name for path in folder.iterdir()}
    result = seqlab("score", runs("lstm_lm"), *(folder / each if each in names else each for each in arguments))
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_a_missing_run_folder_is_reported(seqlab, files: dict[str, Path], tmp_path: Path) -> None:
    result = seqlab("score", tmp_path / "none", "--tgt", files["one"])
    assert result.err == f"seqlab: error: There is no run folder {tmp_path}/none.\n"
