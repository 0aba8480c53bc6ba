"""`seqlab exposure` with randomly initialized models: table and JSON, and errors for empty input."""

import json
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["run_dir", "recurrent_run_dir"])
def test_table_and_json_have_one_row_per_position(
    seqlab, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(name)
    (tmp_path / "src").write_text("abc def\n\nz\n")
    (tmp_path / "tgt").write_text("klm\nno\nx.yz\n")
    options = ("exposure", run, "--src", tmp_path / "src", "--tgt", tmp_path / "tgt")
    table = seqlab(*options)
    assert table.status == 0
    report = json.loads(seqlab(*options, "--json").out)
    assert report["true"]["predictions"] == 4 + 5  # the pair with an empty side is left out
    both = report["both"]
    assert both["true"]["predictions"] == both["own"]["predictions"]
    assert report["exposure_bias"] == pytest.approx(both["true"]["accuracy"] - both["own"]["accuracy"])
    lines = table.out.decode().splitlines()
    assert len(lines) == 1 + len(report["positions"]) + 4
    assert report["positions"][0]["true"]["predictions"] == report["positions"][0]["own"]["predictions"] == 2


def test_empty_input_is_refused(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "one").write_text("a\n")
    (tmp_path / "blank").write_text("\n")
    result = seqlab("exposure", run_dir, "--src", tmp_path / "empty", "--tgt", tmp_path / "empty")
    assert (result.status, "is empty: there are no pairs to measure" in result.err) == (2, True)
    result = seqlab("exposure", run_dir, "--src", tmp_path / "one", "--tgt", tmp_path / "empty")
    assert (result.status, "must have the same number of lines" in result.err) == (2, True)
    result = seqlab("exposure", run_dir, "--src", tmp_path / "one", "--tgt", tmp_path / "blank")
    assert (result.status, "There are no pairs to measure" in result.err) == (2, True)
