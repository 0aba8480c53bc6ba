"""Runs with parts of plugins: bit-exact resuming after signals, recorded plugins, and training on two ranks."""

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

from .conftest import PLUGIN_OPTION, PLUGIN_PATH, environment, run_commands

PARTS = {
    ("model", "convolutional"): "seqlab_outside.convolutional",
    ("objective", "focal"): "seqlab_outside.focal",
    ("schedule", "triangle"): "seqlab_outside.triangle",
    ("metric", "distinct"): "seqlab_outside.distinct",
}


def run_until(command: Sequence[str | Path], number: signal.Signals, condition: Callable[[], bool]) -> int:
    """Start a command and send it a signal once a condition is true; return its exit status."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seqlab", *map(str, command)], env=environment(PLUGIN_PATH), stderr=subprocess.PIPE
    )
    while process.poll() is None and not condition():
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate()
    return process.returncode


def has_checkpoint(run: Path, step: int) -> Callable[[], bool]:
    """Return a condition: whether the run has a checkpoint of a step."""

    def condition() -> bool:
        return (run / "checkpoints").is_dir() and step in checkpoint_steps(run / "checkpoints")

    return condition


def test_resuming_after_sigterm_and_sigkill_is_bit_exact(trained: Path, config_file: Path, tmp_path: Path) -> None:
    """SIGTERM after the first checkpoint, then SIGKILL at the next checkpoint."""
    run = tmp_path / "run"
    command = ["train", config_file, "--run_dir", run, *PLUGIN_OPTION]
    assert run_until(command, signal.SIGTERM, has_checkpoint(run, 4)) == 128 + signal.SIGTERM
    last_step = checkpoint_steps(run / "checkpoints")[-1]
    assert 4 <= last_step < 88
    next_step = last_step + 4 - last_step % 4
    assert run_until(command, signal.SIGKILL, has_checkpoint(run, next_step)) == -signal.SIGKILL
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
    command = ["train", config_file, "--run_dir", run, "--training.max_steps", "98", *PLUGIN_OPTION]
    [done] = run_commands([command], path=[path])
    assert done.status == 0
    warnings = [line for line in done.err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert "the objective `focal` of the plugin seqlab_outside.focal (sha256 " in warnings[0]
    assert warnings[0].endswith("the run continues, but not bit for bit.")


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "seqlab"]


def test_two_ranks_train_like_one(config_file: Path, installed: tuple[Path, Path], tmp_path: Path) -> None:
    """Without dropout and sampling. One rank loads the plugin by `--plugin`, two by its entry point."""
    exact = ["--model.dropout", "0", "--data.subword_sampling", "0", "--training.max_steps", "8"]
    command = ["train", str(config_file), *exact, "--run_dir"]
    [one_rank] = run_commands([[*command, tmp_path / "one_rank", *PLUGIN_OPTION]])
    assert one_rank.status == 0, one_rank.err
    two_ranks = subprocess.run(
        [sys.executable, *TORCHRUN, *command, str(tmp_path / "two_ranks")],
        env=environment(*installed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert two_ranks.returncode == 0, two_ranks.stderr
    actual, expected = (comparable_metrics(tmp_path / name) for name in ("two_ranks", "one_rank"))
    for name in ("loss", "nll_per_tgt_token"):
        values = [[line[name] for line in lines if name in line] for lines in (actual, expected)]
        assert len(values[0]) > 0
        assert values[0] == pytest.approx(values[1], rel=1e-4)
