"""`seqlab loss-surface`: text, JSON, figures, and errors."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

QUICK = ("--rows", "16", "--lanczos_steps", "4", "--starts", "2", "--points", "3")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(trained_row) -> Path:
    return trained_row("mlp, label sets, mean of the last").run


def test_json_has_the_point_and_lines_and_the_run_is_unchanged(seqlab, run: Path, tmp_path: Path) -> None:
    before = contents(run)
    result = json.loads(seqlab("loss-surface", run, "--json", "--out", tmp_path / "figure.svg", *QUICK).out)
    assert contents(run) == before
    point = result["point"]
    assert point["kind"] in ("slope", "saddle", "minimum", "unresolved")
    assert point["loss"] == result["loss"] == result["lines"][0]["losses"][1]
    assert point["spectrum"]["exact"]  # a small model
    assert len(point["spectrum"]["density"]["values"]) == result["weights"]
    names = ["random 1", "random 2", "lowest eigenvector", "highest eigenvector"]
    assert [line["name"] for line in result["lines"]] == names
    assert ElementTree.parse(tmp_path / "figure.svg").getroot().tag.endswith("svg")


def test_text_of_lanczos_runs(seqlab, trained_row) -> None:
    """The model has more weights than all eigenvalues are computed for."""
    lines = (
        seqlab("loss-surface", trained_row("transformer").run, "--compute", "point", *QUICK).out.decode().split("\n")
    )
    starts = ("kind of point: ", "gradient norm: ", "lowest eigenvalue: ", "highest eigenvalue: ", "minimum ratio: ")
    for line, start in zip(lines[1:], starts, strict=False):
        assert line.startswith(start)


def test_plane_and_path(seqlab, run: Path, tmp_path: Path) -> None:
    """The path from a run to a copy of itself is flat."""
    other = shutil.copytree(run, tmp_path / "copy")
    parts = ("--compute", "plane", "path", "--directions", "eigenvectors")
    result = json.loads(seqlab("loss-surface", run, other, "--json", *parts, *QUICK).out)
    assert len(result["plane"]["losses"]) == len(result["plane"]["losses"][0]) == 3
    assert result["plane"]["losses"][1][1] == result["loss"]
    for split in ("train", "valid"):
        path = result["path"][split]
        assert (path["distance"], path["barrier"]) == (0, pytest.approx(0, abs=1e-6))
    assert "barrier" in seqlab("loss-surface", run, other, *QUICK).out.decode()


def test_runs_of_other_models_and_vocabularies_are_refused(seqlab, run: Path, trained_row) -> None:
    other = trained_row("mlp, batch norm, moving average").run
    result = seqlab("loss-surface", run, other, *QUICK)
    assert result.status == 2
    assert "different vocabularies or encoders" in result.err


def test_count_based_models_have_no_surface(seqlab, trained_row) -> None:
    result = seqlab("loss-surface", trained_row("gaussian_classifier").run, *QUICK)
    assert result.status == 2
    assert "`model.family: gaussian_classifier` has no weights that gradients train" in result.err


def test_objectives_of_samples_have_no_surface(seqlab, trained_row) -> None:
    result = seqlab("loss-surface", trained_row("transformer, moving mean of rewards").run, *QUICK)
    assert result.status == 2
    assert "`objective.family: policy_gradient` trains on samples or episodes" in result.err


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--compute", "path"), "`--compute path` needs a second run"),
        (("RUN2", "--compute", "lines"), "the second run is for `--compute path` only"),
        (("--points", "1"), "`--points` must be at least 2"),
    ],
)
def test_options_that_contradict_each_other(seqlab, tmp_path: Path, options: tuple[str, ...], error: str) -> None:
    result = seqlab("loss-surface", tmp_path, *options)
    assert result.status == 2
    assert error in result.err
