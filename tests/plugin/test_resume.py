"""Runs of parts from outside are ended and continued, on one rank and on two, bit for bit."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from reference.tiny_runs import assert_equal_runs, comparable_metrics

from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RunFolder

from .conftest import HERE, TABLE, environment, run_all

PARTS = {
    ("model", "convolutional"): "seqlab_outside.convolutional",
    ("objective", "focal"): "seqlab_outside.focal",
    ("schedule", "triangle"): "seqlab_outside.triangle",
    ("metric", "distinct"): "seqlab_outside.distinct",
}


def end_at(run: Path, command: Sequence[str | Path], number: signal.Signals, condition: Callable[[], bool]) -> int:
    """Start a command and send it a signal when a condition holds; return its status."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seqlab", *map(str, command)], env=environment(HERE), stderr=subprocess.PIPE
    )
    while process.poll() is None and not condition():
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate()
    return process.returncode


def has_checkpoint(run: Path, step: int) -> Callable[[], bool]:
    def look() -> bool:
        return (run / "checkpoints").is_dir() and step in checkpoint_steps(run / "checkpoints")

    return look


def test_ended_and_continued(trained: Path, config_file: Path, tmp_path: Path) -> None:
    """By SIGTERM after a checkpoint, then by SIGKILL at the next that there is."""
    run = tmp_path / "run"
    command = ["train", config_file, "--run_dir", run, *TABLE]
    assert end_at(run, command, signal.SIGTERM, has_checkpoint(run, 4)) == 128 + signal.SIGTERM
    stopped = checkpoint_steps(run / "checkpoints")[-1]
    assert 4 <= stopped < 88
    assert end_at(run, command, signal.SIGKILL, has_checkpoint(run, stopped + 4 - stopped % 4)) == -signal.SIGKILL
    [done] = run_all([command])
    assert done.status == 0, done.err
    assert "not bit for bit" not in done.err
    assert_equal_runs(run, trained)


def test_the_run_notes_its_plugins(trained: Path) -> None:
    notes = RunFolder(trained).read_description()["plugins"]
    assert {(note["kind"], note["name"]): note["module"] for note in notes} == PARTS
    assert RunFolder(trained.with_name("transformer")).read_description()["plugins"] == []


def test_an_edited_plugin_is_warned_of(trained: Path, config_file: Path, tmp_path: Path) -> None:
    run, path = Path(shutil.copytree(trained, tmp_path / "run")), tmp_path / "path"
    shutil.copytree(HERE / "seqlab_outside", path / "seqlab_outside", ignore=shutil.ignore_patterns("__pycache__"))
    with (path / "seqlab_outside" / "focal.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    command = ["train", config_file, "--run_dir", run, "--training.max_steps", "98", *TABLE]
    [done] = run_all([command], path=[path])
    assert done.status == 0
    warnings = [line for line in done.err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert "the objective `focal` of the plugin seqlab_outside.focal (sha256 " in warnings[0]
    assert warnings[0].endswith("the run continues, but not bit for bit.")


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "seqlab"]


def test_two_ranks_train_like_one(config_file: Path, installed: tuple[Path, Path], tmp_path: Path) -> None:
    """Without dropout and sampling; one rank has the plugin by its name, two by its entry point."""
    exact = ["--model.dropout", "0", "--data.subword_sampling", "0", "--training.max_steps", "8"]
    command = ["train", str(config_file), *exact, "--run_dir"]
    [alone] = run_all([[*command, tmp_path / "alone", *TABLE]])
    assert alone.status == 0, alone.err
    both = subprocess.run(
        [sys.executable, *TORCHRUN, *command, str(tmp_path / "both")],
        env=environment(*installed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert both.returncode == 0, both.stderr
    found, wanted = (comparable_metrics(tmp_path / name) for name in ("both", "alone"))
    for name in ("loss", "nll_per_tgt_token"):
        values = [[line[name] for line in lines if name in line] for lines in (found, wanted)]
        assert len(values[0]) > 0
        assert values[0] == pytest.approx(values[1], rel=1e-4)
