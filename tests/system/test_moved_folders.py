"""Run folders that are moved, deleted or replaced during training: no other folder is written to."""

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch.distributed as dist
from reference.ranks import run_in_ranks
from reference.tiny_runs import assert_equal_runs

import seqlab.training.loop
from seqlab.base.world import LostRank
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import config_from_yaml
from seqlab.training import train
from seqlab.training.locked_folder import LostFolder

from .conftest import TrainingProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open folders are accessed through /proc")


def has_checkpoint(run_dir: Path) -> Callable[[], bool]:
    return lambda: bool(checkpoint_steps(run_dir / "checkpoints"))


def disturb_training(
    training: TrainingProcess, disturb: Callable[[], object], condition: Callable[[], bool] | None = None
) -> str:
    """Pause training (by default after its first checkpoint), call `disturb`, and return the final error message."""
    assert training.wait_for(condition or has_checkpoint(training.run_dir))
    training.signal(signal.SIGSTOP)
    disturb()
    training.signal(signal.SIGCONT)
    status, out, err = training.finish()
    assert (status, out) == (1, b""), err
    assert "trained: " not in err
    return err.splitlines()[-1]


def test_a_moved_run_stops_with_a_checkpoint_and_can_be_resumed(
    config_file: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    run_dir, moved = tmp_path / "x", tmp_path / "x_old"
    steps_before: list[int] = []

    def move() -> None:
        steps_before.extend(checkpoint_steps(run_dir / "checkpoints"))
        run_dir.rename(moved)

    message = disturb_training(TrainingProcess(config_file, run_dir), move)
    assert f"Training stopped: {run_dir} is no longer there. The run is in {moved}: move it back" in message
    assert not run_dir.exists()
    assert checkpoint_steps(moved / "checkpoints")[-1] >= steps_before[-1]
    assert TrainingProcess(config_file, moved).finish()[0] == 0
    assert_equal_runs(moved, uninterrupted[0])


def test_a_deleted_run_is_not_reported_as_trained(config_file: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "x"
    message = disturb_training(TrainingProcess(config_file, run_dir), lambda: shutil.rmtree(run_dir))
    assert message.endswith(f"{run_dir} is no longer there. The folder of the run was deleted, or cannot be found.")
    assert not run_dir.exists()


@pytest.mark.parametrize("name", ["tokenizer", "checkpoints/step_00000005"])
def test_a_new_run_of_the_same_name_is_not_changed(
    config_file: Path, uninterrupted: tuple[Path, float], tmp_path: Path, name: str
) -> None:
    """The new run replaces the first run during its setup or after its first checkpoint."""
    run_dir, moved = tmp_path / "x", tmp_path / "x_old"
    second_results: list[tuple[int, bytes, str]] = []

    def replace() -> None:
        run_dir.rename(moved)
        second_results.append(TrainingProcess(config_file, run_dir).finish())

    message = disturb_training(TrainingProcess(config_file, run_dir), replace, lambda: (run_dir / name).exists())
    assert second_results[0][0] == 0, second_results
    assert f"{run_dir} holds another run now. The run is in {moved}" in message
    assert_equal_runs(run_dir, uninterrupted[0])
    assert TrainingProcess(config_file, moved).finish()[0] == 0
    assert_equal_runs(moved, uninterrupted[0])
    assert RunFolder(run_dir).read_description_entry("run_id") != RunFolder(moved).read_description_entry("run_id")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer", "moved"),
        ("config.yaml", "moved"),
        ("config.yaml", "replaced"),
        ("tokenizer", "deleted"),
    ],
)
def test_a_run_moved_or_deleted_during_setup_writes_to_no_other_folder(
    config_file: Path, uninterrupted: tuple[Path, float], tmp_path: Path, name: str, change: str
) -> None:
    run_dir, moved = tmp_path / "x", tmp_path / "x_old"

    def disturb() -> None:
        if change == "deleted":
            shutil.rmtree(run_dir)
            return
        run_dir.rename(moved)
        if change == "replaced":
            run_dir.mkdir()
            (run_dir / "chapter.txt").write_text("precious")

    message = disturb_training(TrainingProcess(config_file, run_dir), disturb, lambda: (run_dir / name).exists())
    assert message.startswith(f"seqlab: error: Training stopped: {run_dir} is ")
    assert (f"The run is in {moved}" in message) == (change != "deleted")
    assert [path.name for path in run_dir.glob("*")] == (["chapter.txt"] if change == "replaced" else [])
    if change == "moved":
        moved.rename(run_dir)
        assert TrainingProcess(config_file, run_dir).finish()[0] == 0
        assert_equal_runs(run_dir, uninterrupted[0])
        assert "/proc/" not in (run_dir / "run.json").read_text()


def test_training_stops_if_a_symbolic_link_to_the_folder_changes(
    config_file: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    disk, other, link = tmp_path / "disk", tmp_path / "other", tmp_path / "x"
    disk.mkdir()
    link.symlink_to(disk)

    def change_target() -> None:
        other.mkdir()
        link.unlink()
        link.symlink_to(other)

    message = disturb_training(TrainingProcess(config_file, link), change_target)
    assert f"{link} is another folder now. The run is in {disk}" in message
    assert not any(other.iterdir())
    link.unlink()
    link.symlink_to(disk)
    assert TrainingProcess(config_file, link).finish()[0] == 0
    assert_equal_runs(disk, uninterrupted[0])


def replace_folder_at_step_6(config_file: Path, run_dir: Path, moved: Path) -> None:
    """Train as one of several ranks; rank 0 replaces the run folder during a step."""
    start_update = seqlab.training.loop.start_update

    def start_update_and_replace(*arguments: Any) -> Any:
        if arguments[3].step + 1 == 6 and dist.get_rank() == 0:
            run_dir.rename(moved)
            run_dir.mkdir()
        return start_update(*arguments)

    with patch.object(seqlab.training.loop, "start_update", start_update_and_replace):
        train(config_from_yaml(config_file), run_dir)


def test_two_ranks_stop_if_the_folder_is_replaced(config_file: Path, tmp_path: Path) -> None:
    run_dir, moved = tmp_path / "x", tmp_path / "x_old"
    found = run_in_ranks(2, replace_folder_at_step_6, config_file, run_dir, moved)
    assert [error.kind for error in found] == [LostFolder, LostRank]
    assert f"{run_dir} is another folder now. The run is in {moved}" in found[0].message
    assert not any(run_dir.iterdir())
    assert checkpoint_steps(moved / "checkpoints")
