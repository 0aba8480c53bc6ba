"""`seqlab search-errors`: consistent counts, compared with `translate` and `score`."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["run_dir", "recurrent_run_dir"])
def test_counts_add_up_and_exact_search_has_the_best_scores(
    seqlab, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(name)
    (tmp_path / "src").write_text("a\nbc\n\nd\n")
    (tmp_path / "tgt").write_text("k\nl\nm\nn\n")
    options = ("search-errors", run, "--src", tmp_path / "src", "--tgt", tmp_path / "tgt", "--beam_sizes", "1", "4")
    found = json.loads(seqlab(*options, "--json").out)
    assert [each["beam_size"] for each in found] == [1, 4]
    assert all(each["right"] + each["search_errors"] + each["model_errors"] == 3 for each in found)
    table = seqlab(*options).out.decode().splitlines()
    assert len(table) == 3
    # Improbable prefixes can be pruned, unless the length penalty rewards longer outputs.
    result = seqlab(*options, "--exact", "--length_alpha", "0", "--json")
    assert f"1 of 4 pairs have an empty side and are left out: {tmp_path}/src and {tmp_path}/tgt, line 3" in result.err
    exact = json.loads(result.out)
    assert [(each["beam_size"], each["unknown"], each["out_of_reach"]) for each in exact] == [
        (1, 0, 0),
        (4, 0, 0),
        (None, 0, 0),
    ]
    assert all(each["right"] + each["search_errors"] + each["model_errors"] == 3 for each in exact)
    assert exact[2]["search_errors"] == exact[2]["beaten"] == 0
    assert all(each["search_errors"] <= each["beaten"] for each in exact)
    result = seqlab(*options, "--exact", "--max_steps", "1", "--json")
    assert "exact search did not complete for 3 of 3 pairs" in result.err
    assert [each["unknown"] for each in json.loads(result.out)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("targets", "rule", "out_of_reach"),
    [
        ("k klm klmn", ("--min_length_ratio", "1.5"), 1),
        ("k klm kl", ("--max_length_ratio", "1", "--max_length_offset", "0"), 1),
        ("k klkm lklm", ("--no_repeat_ngram_size", "1"), 2),
    ],
)
def test_references_beyond_the_limits_are_counted_separately(
    seqlab, run_dir: Path, targets: str, rule: tuple[str, ...], out_of_reach: int, tmp_path: Path
) -> None:
    """The source has three ids, including eos."""
    (tmp_path / "src").write_text("ab\n" * 3)
    (tmp_path / "tgt").write_text("".join(f"{target}\n" for target in targets.split()))
    files = ("--src", tmp_path / "src", "--tgt", tmp_path / "tgt", "--beam_sizes", "2")
    for each in json.loads(
        seqlab("search-errors", run_dir, *files, "--exact", "--length_alpha", "0", "--json", *rule).out
    ):
        counted = each["right"] + each["search_errors"] + each["model_errors"]
        assert (each["out_of_reach"], counted + each["unknown"]) == (out_of_reach, 3 - out_of_reach)
        assert each["beam_size"] is not None or each["search_errors"] == 0


@pytest.mark.parametrize("options", [(), ("--length_penalty", "gnmt", "--length_alpha", "2")])
def test_errors_are_classified_by_length_penalized_scores(
    seqlab, run_dir: Path, options: tuple[str, ...], tmp_path: Path
) -> None:
    """The counts match the length-penalized scores of `translate` and `score`, but not their log-probabilities."""
    targets = ["b" * length for length in range(1, 11)] * 10
    lines = [f"{source}\n" for source in "abcdefghij" for _ in range(10)]
    (tmp_path / "src").write_text("".join(lines))
    (tmp_path / "tgt").write_text("".join(f"{target}\n" for target in targets))
    files = ("--src", tmp_path / "src", "--tgt", tmp_path / "tgt")
    search = ("--beam_size", "3", "--precision", "fp32", *options)
    translated = seqlab("translate", run_dir, *search, "--json", stdin="".join(lines).encode()).out
    outputs = [json.loads(line)["hypotheses"][0] for line in translated.splitlines()]
    scored = seqlab("score", run_dir, *files, "--precision", "fp32", "--json").out
    references = [json.loads(line) for line in scored.splitlines()]

    def errors(penalty: Callable[[int], float]) -> int:
        output_scores = [
            each["log_prob"] / penalty(each["num_tokens"]) if each["finished"] else -math.inf for each in outputs
        ]
        reference_scores = [each["log_prob"] / penalty(each["num_tokens"]) for each in references]
        return sum(reference > output for reference, output in zip(reference_scores, output_scores, strict=True))

    expected = errors((lambda length: ((5 + length) / 6) ** 2) if options else float)
    [found] = json.loads(seqlab("search-errors", run_dir, *files, "--beam_sizes", "3", *options, "--json").out)
    assert (found["search_errors"], found["model_errors"]) == (expected, 100 - expected)
    assert expected != errors(lambda length: 1.0)


@pytest.mark.parametrize("name", ["run_dir", "recurrent_run_dir"])
def test_references_with_unknown_words_are_out_of_reach(
    seqlab, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / "src").write_text("a\na\n")
    (tmp_path / "tgt").write_text("k\nk%\n")
    files = ("--src", tmp_path / "src", "--tgt", tmp_path / "tgt", "--beam_sizes", "2")
    [found] = json.loads(seqlab("search-errors", request.getfixturevalue(name), *files, "--json").out)
    assert (found["out_of_reach"], found["search_errors"] + found["model_errors"]) == (1, 1)


def test_invalid_options_are_reported(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a\n")
    files = ("--src", tmp_path / "one", "--tgt", tmp_path / "one")
    for options, message in (
        (("--beam_sizes", "0"), "`--beam_sizes[0]` must be at least 1, but is 0 instead"),
        (("--max_steps", "0"), "`--max_steps` must be at least 1, but is 0 instead"),
        (("--max_steps", "3"), "--max_steps limits exact search: it needs --exact"),
        (("--precision", "bf16"), "`precision` must be fp32 to count search errors"),
    ):
        result = seqlab("search-errors", run_dir, *files, *options)
        assert (result.status, message in result.err) == (2, True)


@pytest.mark.parametrize("name", ["run_dir", "recurrent_run_dir"])
def test_outputs_at_the_length_limit_are_reported(
    seqlab, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run, lines = request.getfixturevalue(name), b"a\nb\nc\nd\ne\nf\n"
    (tmp_path / "pairs").write_bytes(lines)
    options = ("--src", tmp_path / "pairs", "--tgt", tmp_path / "pairs", "--beam_sizes", "1", "--max_length", "2")
    result = seqlab("search-errors", run, *options, "--json")
    greedy = ("--beam_size", "1", "--max_length", "2", "--precision", "fp32", "--json")
    outputs = [
        json.loads(line)["hypotheses"][0] for line in seqlab("translate", run, *greedy, stdin=lines).out.splitlines()
    ]
    cut_off = sum(not each["finished"] for each in outputs)
    assert cut_off > 0
    [found] = json.loads(result.out)
    assert (found["unfinished"], found["search_errors"]) == (cut_off, cut_off)
    assert f"beam 1: {cut_off} outputs were cut at a length limit: they count as search errors" in result.err
