"""seqlab search-errors: what the counts must add up to."""

import json
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["run_dir", "recurrent_run_dir"])
def test_counts_add_up_and_exact_search_is_not_beaten(
    seqlab, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(name)
    (tmp_path / "src").write_text("a\nbc\n\nd\n")
    (tmp_path / "tgt").write_text("k\nl\nm\nn\n")
    options = ("search-errors", run, "--src", tmp_path / "src", "--tgt", tmp_path / "tgt", "--beam_sizes", "1", "4")
    found = json.loads(seqlab(*options, "--json").out)
    assert [each["beam_size"] for each in found] == [1, 4]
    assert all(each["right"] + each["search_errors"] + each["model_errors"] == 3 for each in found)
    result = seqlab(*options, "--exact", "--max_steps", "200", "--json")
    assert "1 of 4 pairs have an empty side and are left out: 3" in result.err
    exact = json.loads(result.out)
    given_up = exact[2]["unknown"]
    assert (f"exact search did not end on {given_up} of 4 pairs" in result.err) == (given_up > 0)
    assert [each["beam_size"] for each in exact] == [1, 4, None]
    assert exact[2]["search_errors"] == exact[2]["beaten"] == 0
    for each in exact:  # of the same sentences
        assert each["right"] + each["search_errors"] + each["model_errors"] + each["unknown"] == 3
        assert each["unknown"] == exact[2]["unknown"]
    table = seqlab(*options).out.decode().splitlines()
    assert len(table) == 3


def test_mistakes_are_named(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a\n")
    files = ("--src", tmp_path / "one", "--tgt", tmp_path / "one")
    for options, message in (
        (("--beam_sizes", "0"), "`beam_size` must be at least 1, but is 0 instead"),
        (("--max_steps", "0"), "`max_steps` must be at least 1, but is 0 instead"),
    ):
        result = seqlab("search-errors", run_dir, *files, *options)
        assert (result.status, message in result.err) == (2, True)
