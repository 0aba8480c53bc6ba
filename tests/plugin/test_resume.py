"""Runs with parts of plugins from the command line: bit-exact resuming, recorded plugins, and training on two ranks."""

import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from reference.ranks import run_in_ranks
from reference.stopped_runs import stop_at
from reference.tiny_runs import assert_equal_runs, comparable_metrics

from seqlab.cli.main import main
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RunFolder

from .conftest import PLUGIN_OPTION, PLUGIN_PATH, call_in_process, run_commands

PARTS = {
    ("model", "convolutional"): "seqlab_outside.convolutional",
    ("objective", "focal"): "seqlab_outside.focal",
    ("schedule", "triangle"): "seqlab_outside.triangle",
    ("metric", "distinct"): "seqlab_outside.distinct",
}


def run_until(command: Sequence[str | Path], step: int, number: int) -> int | None:
    """Run a training command that gets a signal during a step; return its exit status, or None if it was killed."""
    status: int | None = call_in_process(_run_until, [str(argument) for argument in command], step, number)
    return status


def _run_until(argv: list[str], step: int, number: int) -> int:
    stop_at(pytest.MonkeyPatch(), step, number)
    return main(argv)


def test_resuming_after_sigterm_and_sigkill_is_bit_exact(trained: Path, config_file: Path, tmp_path: Path) -> None:
    """SIGTERM, which saves a checkpoint, and then SIGKILL, both between checkpoints."""
    run = tmp_path / "run"
    command = ["train", config_file, "--run_dir", run, *PLUGIN_OPTION]
    assert run_until(command, 6, signal.SIGTERM) == 128 + signal.SIGTERM
    assert checkpoint_steps(run / "checkpoints")[-1] == 6
    assert run_until(command, 11, signal.SIGKILL) is None
    [done] = run_commands([command])
    assert done.status == 0, done.err
    assert "not bit for bit" not in done.err
    assert_equal_runs(run, trained)


def test_run_json_records_the_plugins(trained: Path) -> None:
    plugins = RunFolder(trained).read_description()["plugins"]
    assert {(plugin["kind"], plugin["name"]): plugin["module"] for plugin in plugins} == PARTS
    assert RunFolder(trained.with_name("transformer")).read_description()["plugins"] == []


def test_resuming_with_an_edited_plugin_warns(trained: Path, config_file: Path, tmp_path: Path) -> None:
    run, path = Path(shutil.copytree(trained, tmp_path / "run")), tmp_path / "path"
    shutil.copytree(
        PLUGIN_PATH / "seqlab_outside", path / "seqlab_outside", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (path / "seqlab_outside" / "focal.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    command = ["train", config_file, "--run_dir", run, "--training.max_steps", "18", *PLUGIN_OPTION]
    [done] = run_commands([command], path=[path])
    assert done.status == 0
    warnings = [line for line in done.err.splitlines() if line.startswith("warning") and "learning rate" not in line]
    assert len(warnings) == 1
    assert "the objective `focal` of the plugin seqlab_outside.focal (sha256 " in warnings[0]
    assert warnings[0].endswith("the run continues, but not bit for bit.")


def test_two_ranks_train_like_one(config_file: Path, installed: tuple[Path, Path], tmp_path: Path) -> None:
    """Without dropout and sampling. One rank loads the plugin by `--plugin`, two by its entry point."""
    exact = ["--model.dropout", "0", "--data.subword_sampling", "0", "--training.max_steps", "4"]
    command = ["train", str(config_file), *exact, "--run_dir"]
    [one_rank] = run_commands([[*command, tmp_path / "one_rank", *PLUGIN_OPTION]])
    assert one_rank.status == 0, one_rank.err
    assert run_in_ranks(2, run_in_this_rank, [*command, str(tmp_path / "two_ranks")], installed) == [0, 0]
    actual, expected = (comparable_metrics(tmp_path / name) for name in ("two_ranks", "one_rank"))
    for name in ("loss", "nll_per_tgt_token"):
        values = [[line[name] for line in lines if name in line] for lines in (actual, expected)]
        assert len(values[0]) > 0
        assert values[0] == pytest.approx(values[1], rel=1e-4)


def run_in_this_rank(argv: list[str], path: Sequence[Path]) -> int:
    """Run a command as one of several ranks, with the plugin installed."""
    sys.path[:0] = map(str, path)
    return main(argv)
