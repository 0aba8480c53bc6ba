"""`seqlab perplexity`, compared with the Python interface, with validation and with manual calculation; errors."""

import gzip
import json
import math
from pathlib import Path

import pytest
from reference.tiny_language_models import BLOCK_LENGTH, FAMILIES, LINES, TinyRuns, write_uniform_run

from seqlab.optim import ConstantScheduleConfig, OptimConfig
from seqlab.runs import RunFolder
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.language_model import load_language_model
from seqlab.text import CharactersConfig, WordsConfig
from seqlab.training import train

TEXT = "".join(f"{line}\n" for line in LINES[5:15])


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    return tmp_path / "text.txt"


@pytest.mark.parametrize("family", FAMILIES)
def test_output_matches_the_python_interface(seqlab, runs: TinyRuns, file: Path, family: str) -> None:
    run_dir = runs(family, documents="continuous")
    found = load_language_model(run_dir).perplexity(LINES[5:15])
    plain, as_json = seqlab("perplexity", run_dir, file), seqlab("perplexity", run_dir, file, "--json")
    assert (plain.status, plain.err) == (0, f"{found.window}\n")
    assert plain.out.decode().splitlines() == found.likelihood.lines()
    [report] = map(json.loads, as_json.out.decode().splitlines())
    assert report == {**found.likelihood.as_dict(), "reading": str(found.window)}
    assert str(BLOCK_LENGTH) in report["reading"]
    assert report["bytes"] == len(TEXT.encode())


def test_values_of_a_uniform_model_match_a_manual_calculation(seqlab, tmp_path: Path) -> None:
    run_dir = write_uniform_run(tmp_path / "run", ["aä b"], CharactersConfig(), has_spelling_model=True)
    result = seqlab("perplexity", run_dir, "-", "--json", stdin="aä b\nbb\n".encode())
    report = json.loads(result.out)
    nats = 8 * math.log(4 + 2)  # four characters, the end of line, and unknown
    assert report["perplexity"] == pytest.approx(6)
    assert report["nats_per_token"] == pytest.approx(nats / 8)
    assert report["perplexity_per_word"] == pytest.approx(math.exp(nats / 5))
    assert report["bits_per_byte"] == pytest.approx(nats / math.log(2) / 9)
    assert [report[name] for name in ("tokens", "words", "bytes", "unknown", "dropped_bytes")] == [8, 5, 9, 0, 0]


def test_per_line_output_adds_up_to_the_total(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"die Katze\n\nblorp sees\r\na")
    run_dir = runs("ngram_lm", "words")
    plain = seqlab("perplexity", run_dir, tmp_path / "text.txt", "--per_line")
    rows = [line.split("\t") for line in plain.out.decode().splitlines()]
    assert [tokens for _, tokens in rows] == ["3", "1", "3", "2"]
    as_json = seqlab("perplexity", run_dir, tmp_path / "text.txt", "--per_line", "--json")
    records = [json.loads(line) for line in as_json.out.decode().splitlines()]
    assert [record["unknown"] for record in records] == [[], [], ["blorp"], []]
    assert [repr(-record["log_prob"]) for record in records] == [nats for nats, _ in rows]
    total = json.loads(seqlab("perplexity", run_dir, tmp_path / "text.txt", "--json").out)
    assert total["nats_per_token"] * total["tokens"] == pytest.approx(-sum(record["log_prob"] for record in records))


def test_unknown_tokens_and_dropped_bytes_are_reported(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes("\ufeffdie  blorp\r\n".encode())
    with_spelling = seqlab("perplexity", runs("ngram_lm", "words"), tmp_path / "text.txt")
    assert "1 of 3 tokens are unknown: scored by their spelling" in with_spelling.err
    assert "5 of 15 bytes are dropped" in with_spelling.err
    without_spelling = write_uniform_run(tmp_path / "run", LINES, WordsConfig(), has_spelling_model=False)
    result = seqlab("perplexity", without_spelling, tmp_path / "text.txt")
    assert "1 of 3 tokens are unknown: not scored, as the run has no spelling model" in result.err
    assert result.out.count(b"n/a") == 4
    assert seqlab("perplexity", without_spelling, tmp_path / "text.txt", "--per_line").out == b"n/a\t3\n"


def test_context_and_stride_are_reported(seqlab, runs: TinyRuns, file: Path) -> None:
    run_dir = runs("lstm_lm", documents="continuous")
    results = {}
    for options in (("--context", "9"), ("--context", "9", "--stride", "2"), ("--stride", "5"), ("--context", "all")):
        result = seqlab("perplexity", run_dir, *options, file, "--json")
        results[options] = json.loads(result.out)
        assert result.err == results[options]["reading"] + "\n"
    readings = [report["reading"] for report in results.values()]
    assert readings == [
        "blocks of 9 tokens, each given one token before it",
        "a sliding window of 9 tokens with stride 2",
        "a sliding window of 12 tokens with stride 5",
        "each token given all previous tokens of its text",
    ]
    assert len({report["perplexity"] for report in results.values()}) == 4


def test_perplexity_does_not_depend_on_file_types_streams_and_batches(
    seqlab, runs: TinyRuns, file: Path, tmp_path: Path
) -> None:
    run_dir = runs("gru_lm")
    expected = json.loads(seqlab("perplexity", run_dir, file, "--json").out)
    (tmp_path / "text.gz").write_bytes(gzip.compress(TEXT.encode()))
    table = write_table(tmp_path / "text.jsonl", TEXT.splitlines())
    for arguments in (
        (tmp_path / "text.gz",),
        ("-",),
        (table,),
        (file, "--batch_tokens", "1"),
        (file, "--threads", "1"),
    ):
        found = json.loads(seqlab("perplexity", run_dir, *arguments, "--json", stdin=TEXT.encode()).out)
        assert found.pop("reading") == expected["reading"]
        assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-6)
    result = seqlab("perplexity", run_dir, file, "--output", tmp_path / "figures")
    assert (result.status, result.out) == (0, b"")
    assert (tmp_path / "figures").read_bytes() == seqlab("perplexity", run_dir, file).out


def write_table(path: Path, records: list[str]) -> str:
    path.write_text("".join(json.dumps({"line": record}) + "\n" for record in records))
    return f"{path}#line"


def test_records_are_read_as_in_training(seqlab, runs: TinyRuns, file: Path, tmp_path: Path) -> None:
    """A record with newlines is several lines of a continuous text, otherwise one line. All bytes are counted."""
    records = ["der die\nKatze\n", "", "a\r\n\r\ndog"]
    table = write_table(tmp_path / "text.jsonl", records)
    size = sum(len(record.removesuffix("\n")) + 1 for record in records)
    for documents, lines in (
        ("continuous", ["der die", "Katze", "", "a", "", "dog"]),
        ("lines", ["der die Katze", "", "a  dog"]),
    ):
        run_dir = runs("gru_lm", documents=documents)
        found = json.loads(seqlab("perplexity", run_dir, table, "--json").out)
        likelihood = load_language_model(run_dir).perplexity(lines).likelihood
        assert found["nats_per_token"] == pytest.approx(likelihood.nats_per_token)
        assert found["tokens"] == likelihood.tokens
        assert found["words"] == 5 + 6  # of the original text, including ends of lines: equal for all models
        assert (found["bytes"], found["dropped_bytes"]) == (size, 2)


def test_torchrun_is_refused(seqlab, runs: TinyRuns, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    for arguments in (("perplexity", runs("gru_lm"), file), ("generate", runs("gru_lm"))):
        result = seqlab(*arguments)
        assert (result.status, result.out) == (2, b"")
        assert f"`seqlab {arguments[0]}` runs in a single process: start it without torchrun." in result.err


def test_an_ensemble_matches_the_python_interface(seqlab, runs: TinyRuns, file: Path) -> None:
    one, two = runs("ngram_lm"), runs("transformer_lm")
    found = json.loads(seqlab("perplexity", one, two, file, "--json").out)
    expected = load_language_model([one, two]).perplexity(LINES[5:15]).likelihood
    assert found["perplexity"] == pytest.approx(expected.perplexity)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN"], "the following arguments are required: FILE"),
        (["RUN", "nowhere.txt"], "nowhere.txt: there is no such file."),
        (["RUN", "text.jsonl"], "text.jsonl: a .jsonl file needs the name of a column"),
        (["RUN", "hub:x"], "hub:x: must have the form hub:NAME"),
        (["nowhere", "FILE"], "There is no run folder nowhere."),
        (["RUN", "-"], "standard input is empty: it has no line to score."),
        (["TRANSLATOR", "FILE"], "translates: use `seqlab translate` or `seqlab score`."),
        (["RUN", "FILE", "--context", "few"], "`context` must be a number of tokens or `all`, but is `few` instead."),
        (["RUN", "FILE", "--context", "-3"], "`context` must be a number of tokens or `all`, but is `-3` instead."),
        (["RUN", "FILE", "--context", "all"], "has a context of 16 tokens: give a number as `context`"),
        (["RUN", "FILE", "--context", "20"], "has a context of 16 tokens, but `context` is 20."),
        (["RUN", "FILE", "--stride", "13"], "`stride` must be from 1 to `context` (12), but is 13 instead."),
        (["RUN", "FILE", "--batch_tokens", "0"], "`--batch_tokens` must be at least 1, but is 0 instead."),
        (["RUN", "FILE", "--threads", "0"], "`--threads` must be at least 1, but is 0 instead."),
    ],
)
def test_invalid_arguments_are_reported(
    seqlab, runs: TinyRuns, run_dir: Path, file: Path, arguments: list[str], message: str
) -> None:
    paths = {"RUN": runs("transformer_lm"), "FILE": file, "TRANSLATOR": run_dir}
    result = seqlab("perplexity", *(paths.get(each, each) for each in arguments))
    assert (result.status, result.out) == (2, b"")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_invalid_utf_8_is_reported(seqlab, runs: TinyRuns) -> None:
    result = seqlab("perplexity", runs("ngram_lm"), "-", stdin=b"abc\n\xff\n")
    assert result.status == 2
    assert "standard input, line 2: not UTF-8" in result.err


def settings(tmp_path: Path, documents: str) -> dict[str, object]:
    for name, lines in (("train", LINES), ("valid", [*LINES[10:30], "die blorp"])):
        (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return {
        **{"train": [str(tmp_path / "train.txt")], "valid": [str(tmp_path / "valid.txt")], "documents": documents},
        **{"tokenizer": WordsConfig(min_count=2), "block_length": 10, "batch_tokens": 200, "micro_batch_tokens": 100},
    }


@pytest.mark.parametrize("documents", ["lines", "continuous"])
@pytest.mark.parametrize("family", ["transformer_lm", "gru_lm", "ngram_lm"])
def test_perplexity_matches_validation(seqlab, tmp_path: Path, family: str, documents: str) -> None:
    """The spelling of unknown words is left out, since validation does not include it."""
    optim = {} if family == "ngram_lm" else {"optim": OptimConfig(schedule=ConstantScheduleConfig(warmup_steps=2))}
    limits = {"max_steps": 6, "log_every": 2, "save_every": 3, "valid_every": 3, "threads": 1}
    config = Config(
        data=LanguageModellingConfig(**settings(tmp_path, documents)),
        model=FAMILIES[family],
        training=TrainingConfig(device="cpu", precision="fp32", **limits),
        **optim,
    )
    run_dir = train(config, tmp_path / "run")
    validations = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "valid"]
    best = min(line["nll_per_tgt_token"] for line in validations)
    result = seqlab("perplexity", run_dir, tmp_path / "valid.txt", "--per_line", "--json")
    lines = [json.loads(line) for line in result.out.decode().splitlines()]
    nll = -sum(sum(line["token_log_probs"]) for line in lines)
    assert nll / sum(line["num_tokens"] for line in lines) == pytest.approx(best, rel=1e-5)
    assert any(line["unknown"] for line in lines)
    assert RunFolder(run_dir).spelling.is_dir()
