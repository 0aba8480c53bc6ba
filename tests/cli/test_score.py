"""`seqlab score` for translators, compared with the logits of each single pair, and errors."""

import json
from pathlib import Path

import pytest
import torch

from seqlab.data.batch import collate
from seqlab.runs import load_run

SRC = ["abc def", "xyz", "", "a\u2028b", "no. yes.", "q"]
TGT = ["xyz", "", "abc", "ä ö ü", "日本", "q"]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Write source and target lines; return the options that name the files."""
    for name, lines in (("src", SRC), ("tgt", TGT)):
        (tmp_path / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
    return ["--src", str(tmp_path / "src"), "--tgt", str(tmp_path / "tgt")]


def log_prob_of_pair(run_dir: Path, src: str, tgt: str) -> float:
    """Compute the log-probability of a single pair from the model's logits."""
    run = load_run(run_dir)
    ids = run.tgt_tokenizer.encode([tgt])[0]
    special = {name: getattr(run.tgt_tokenizer, name) for name in ("pad_id", "bos_id", "eos_id")}
    batch = collate([run.src_tokenizer.encode([src])[0]], [ids], [0], **special)
    with torch.inference_mode():
        log_probs = run.model(batch).logits()[0].log_softmax(-1)
    return sum(float(row[label]) for row, label in zip(log_probs, [*ids, special["eos_id"]], strict=True))


def test_scores_match_those_of_single_pairs(seqlab, run_dir: Path, files: list[str]) -> None:
    result = seqlab("score", run_dir, *files, "--precision", "fp32")
    assert result.status == 0
    scores = [float(line) for line in result.out.decode().splitlines()]
    assert scores == pytest.approx([log_prob_of_pair(run_dir, s, t) for s, t in zip(SRC, TGT, strict=True)], abs=1e-4)


def test_scores_are_in_fp32_by_default(
    seqlab, run_dir: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqlab.nn.precision.supports_bf16", lambda device: True)
    default, half, full = (
        seqlab("score", run_dir, *files, *options).out
        for options in ((), ("--precision", "bf16"), ("--precision", "fp32"))
    )
    assert default == full != half


def test_json_blocks_batches_and_output_files_give_the_same_scores(
    seqlab, run_dir: Path, files: list[str], tmp_path: Path
) -> None:
    plain = seqlab("score", run_dir, *files).out.decode().splitlines()
    options = ("--json", "--buffer_lines", "2", "--batch_tokens", "9", "--output", tmp_path / "scores")
    assert seqlab("score", run_dir, *files, *options).out == b""
    records = [json.loads(line) for line in (tmp_path / "scores").read_text(encoding="utf-8").splitlines()]
    assert [record["log_prob"] for record in records] == [float(line) for line in plain]  # exactly
    assert [record["num_tokens"] for record in records] == [len(line) + 1 for line in TGT]
    assert all(sum(record["token_log_probs"]) == pytest.approx(record["log_prob"]) for record in records)


def test_pairs_that_are_too_long_are_reported_with_file_and_line(seqlab, run_dir: Path, tmp_path: Path) -> None:
    """Line numbers count the header of the file."""
    table, long = tmp_path / "pairs.tsv", "k" * 40
    table.write_text(f"src\ttgt\na\tk\nb\tk\nc\t{long}\n")
    files = ("--src", f"{table}#src", "--tgt", f"{table}#tgt")
    pair = f"{table}#src and {table}#tgt, line 4"
    message = f"{pair}: the target has 41 tokens, but the model reads at most 32: remove this pair"
    for command in (("score", "--buffer_lines", "2"), ("exposure",), ("search-errors",), ("calibration",)):
        result = seqlab(command[0], run_dir, *files, *command[1:])
        assert (result.status, message in result.err) == (2, True), result.err
    (tmp_path / "many").write_text(f"k\nk\n{long}\n")
    message = f"{table}#src, line 4, and {tmp_path / 'many'}, line 3: the target has 41 tokens"
    options = ("--tgt", tmp_path / "many", tmp_path / "many", "--likeliest")
    assert message in seqlab("score", run_dir, "--src", f"{table}#src", *options).err


def test_columns_of_a_table_are_scored_as_two_files(seqlab, run_dir: Path, files: list[str], tmp_path: Path) -> None:
    table = tmp_path / "pairs.tsv"
    table.write_bytes("".join(f"{src}\t{tgt}\n" for src, tgt in zip(SRC, TGT, strict=True)).encode())
    assert (
        seqlab("score", run_dir, "--src", f"{table}#0", "--tgt", f"{table}#1").out
        == seqlab("score", run_dir, *files).out
    )


def test_invalid_arguments_are_reported(seqlab, run_dir: Path, files: list[str], tmp_path: Path) -> None:
    (tmp_path / "short").write_text("one\n", encoding="utf-8")
    for arguments, message in (
        (["--src", files[1], "--tgt", tmp_path / "short"], "has 6 lines but"),
        (["--src", files[1], "--tgt", tmp_path / "none"], "none: there is no such file."),
        (["--src", files[1]], "the following arguments are required: --tgt"),
        ([*files, "--beam_size", "3"], "there is no option `--beam_size`"),
        ([*files, "--buffer_lines", "0"], "`--buffer_lines` must be at least 1"),
        ([*files, "--batch_tokens", "0"], "`--batch_tokens` must be at least 1"),
    ):
        result = seqlab("score", run_dir, *arguments)
        assert result.status == 2
        assert message in result.err
        assert result.err.count("\n") == 1


def test_translators_require_source_lines(seqlab, run_dir: Path, files: list[str]) -> None:
    result = seqlab("score", run_dir, *files[2:])
    assert (result.status, result.out) == (2, b"")
    assert result.err == f"seqlab: error: {run_dir} is a translator: give its source lines with `--src`\n"


def test_likeliest_prints_the_number_of_the_most_probable_target(
    seqlab, run_dir: Path, files: list[str], tmp_path: Path
) -> None:
    (tmp_path / "other").write_bytes("".join(f"{line}\n" for line in TGT[::-1]).encode())
    (tmp_path / "third").write_bytes("".join(f"{line}\n" for line in SRC).encode())
    candidates = (files[3], tmp_path / "other", tmp_path / "third")
    scores = [
        [float(line) for line in seqlab("score", run_dir, *files[:2], "--tgt", tgt).out.decode().splitlines()]
        for tgt in candidates
    ]
    result = seqlab("score", run_dir, *files[:2], "--tgt", *candidates, "--likeliest")
    expected = [max(range(3), key=lambda i: each[i]) + 1 for each in zip(*scores, strict=True)]
    assert [int(line) for line in result.out.decode().splitlines()] == expected
    assert len(set(expected)) > 1


def test_unknown_items_of_both_sides_are_counted(seqlab, run_dir: Path, files: list[str]) -> None:
    message = "1 of 12 lines have items that are not in the vocabulary and are read as unknown: '日', '本'"
    assert message in seqlab("score", run_dir, *files).err
