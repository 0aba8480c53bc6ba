"""Checkpoints: round trip, damaged files, full disks, and incomplete checkpoints."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seqlab.base import named_files
from seqlab.runs.checkpoint import (
    checkpoint_name,
    checkpoint_steps,
    choose_step,
    delete_checkpoint,
    read_state,
    read_tensors,
    read_weights,
    remove_leftovers,
    write_checkpoint,
)
from seqlab.runs.folder import RunFolder

TENSORS: dict[str, dict[str, Tensor]] = {
    "model": {
        "weight": torch.arange(6.0).view(2, 3),
        "scalar": torch.tensor(2.5),
        "transposed": torch.eye(4)[:, :2].t(),
    },
    "state": {"generator.cpu": torch.get_rng_state(), "half": torch.ones(3, dtype=torch.bfloat16)},
}
NUMBERS = {"progress": {"step": 5, "score": 0.1 + 0.2}}


def assert_complete(checkpoint: Path, tensors: dict[str, dict[str, Tensor]] = TENSORS) -> None:
    for stem, content in tensors.items():
        found = read_tensors(checkpoint, stem)
        assert found.keys() == content.keys()
        assert all(
            torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in content.items()
        )
    assert read_state(checkpoint)["progress"] == NUMBERS["progress"]


def test_round_trip(tmp_path: Path) -> None:
    written = write_checkpoint(tmp_path / "checkpoints", 5, TENSORS, NUMBERS)
    assert written == tmp_path / "checkpoints" / "step_00000005"
    assert_complete(written)
    assert checkpoint_steps(tmp_path / "checkpoints") == [5]


def test_tensor_order_is_the_same_in_all_processes(tmp_path: Path) -> None:
    """Ranks share the tensors in this order."""
    names = [f"tensor.{number}" for number in range(40)]
    checkpoint = write_checkpoint(tmp_path, 1, {"model": {name: torch.zeros(1) for name in names}}, {})
    assert list(read_tensors(checkpoint, "model")) == sorted(names)


def test_incomplete_checkpoints_are_ignored_and_removed(tmp_path: Path) -> None:
    for step in (20, 3, 100, 123456789):
        write_checkpoint(tmp_path, step, TENSORS, NUMBERS)
    for name in ("step_00000007.tmp", "step_00000008.deleted"):
        shutil.copytree(tmp_path / checkpoint_name(3), tmp_path / name)
    (tmp_path / "step_notes").mkdir()
    (tmp_path / "step_00000009").write_text("a file")
    assert checkpoint_steps(tmp_path) == [3, 20, 100, 123456789]
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *map(checkpoint_name, (3, 20, 100, 123456789)),
        "step_notes",
        "step_00000009",
    }
    remove_leftovers(tmp_path / "nowhere")
    assert checkpoint_steps(tmp_path / "nowhere") == []


def test_incomplete_checkpoints_of_the_same_step_are_replaced(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 5, TENSORS, NUMBERS)
    shutil.copytree(checkpoint, tmp_path / "step_00000005.tmp")
    shutil.copytree(checkpoint, tmp_path / "step_00000005.deleted")
    assert_complete(write_checkpoint(tmp_path, 5, TENSORS, NUMBERS))
    shutil.copytree(checkpoint, tmp_path / "step_00000005.deleted")
    delete_checkpoint(checkpoint)
    assert list(tmp_path.iterdir()) == []


def test_inference_uses_averaged_weights(tmp_path: Path) -> None:
    averaged = {"averaged": {"weight": torch.zeros(2)}}
    assert read_weights(write_checkpoint(tmp_path, 1, TENSORS, NUMBERS), "lstm").keys() == TENSORS["model"].keys()
    assert read_weights(write_checkpoint(tmp_path, 2, TENSORS | averaged, NUMBERS), "lstm").keys() == {"weight"}


class FullDisk:
    """Let the file operation with number `failing_call` fail, as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.failing_call = 0, -1
        for module, name in ((os, "fsync"), (os, "mkdir"), (os, "rename"), (os, "replace")):
            monkeypatch.setattr(module, name, self.wrap(getattr(module, name)))
        monkeypatch.setattr(named_files._RawFile, "write", self.wrap(named_files._RawFile.write))

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls - 1 == self.failing_call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments, **options)

        return call


@pytest.mark.parametrize("replaces_existing", [False, True])
def test_a_full_disk_keeps_existing_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaces_existing: bool
) -> None:
    old, step = write_checkpoint(tmp_path, 5, TENSORS, NUMBERS), 5 if replaces_existing else 6
    disk = FullDisk(monkeypatch)
    write_checkpoint(tmp_path / "count", step, TENSORS, NUMBERS)
    shutil.rmtree(tmp_path / "count")
    num_calls, num_complete = disk.calls, 0
    assert num_calls >= 9
    for call in range(num_calls):
        disk.calls, disk.failing_call = 0, call
        with suppress(OSError):  # errors while a folder is removed are ignored
            write_checkpoint(tmp_path, step, TENSORS, NUMBERS)
        disk.failing_call = -1
        assert not list(tmp_path.glob("*.tmp"))
        for complete_step in checkpoint_steps(tmp_path):
            assert_complete(tmp_path / checkpoint_name(complete_step))
            num_complete += 1
        if not replaces_existing:
            assert_complete(old)
        write_checkpoint(tmp_path, 5, TENSORS, NUMBERS)
        remove_leftovers(tmp_path)
    assert num_complete > 0


def test_partial_writes_leave_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full after some bytes of a file."""
    write_checkpoint(tmp_path, 5, TENSORS, NUMBERS)

    def open_full(path: Path, label: Path) -> Any:
        monkeypatch.undo()
        path.write_bytes(b"half")
        return open("/dev/full", "wb")

    monkeypatch.setattr("seqlab.base.atomic_io.open_for_writing", open_full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path, 6, TENSORS, NUMBERS)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000005"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, remove])
@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors"])
def test_damaged_tensors_are_reported(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    checkpoint = write_checkpoint(tmp_path, 5, TENSORS, NUMBERS)
    damage(checkpoint / name)
    with pytest.raises(ValueError, match=rf"{name} is missing or damaged .* Delete the folder .*step_00000005"):
        read_tensors(checkpoint, name.partition(".")[0])


@pytest.mark.parametrize("content", [b"", b'{"progress": {"st', b"[1]", b"\xff\xfe", b"\0" * 20, None])
def test_damaged_state_json_is_reported(tmp_path: Path, content: bytes | None) -> None:
    checkpoint = write_checkpoint(tmp_path, 5, TENSORS, NUMBERS)
    if content is None:
        (checkpoint / "state.json").unlink()
    else:
        (checkpoint / "state.json").write_bytes(content)
    for read in (lambda: read_state(checkpoint), lambda: read_tensors(checkpoint, "model")):
        with pytest.raises(ValueError, match=r"state\.json is missing or damaged"):
            read()


def test_floats_round_trip_exactly(tmp_path: Path) -> None:
    numbers = {"values": [0.1 + 0.2, 1e-300, 2.0**0.5, -1 / 3], "none": None}
    checkpoint = write_checkpoint(tmp_path, 5, TENSORS, numbers)
    assert {name: read_state(checkpoint)[name] for name in numbers} == numbers
    assert json.loads((checkpoint / "state.json").read_text())["crc32"].keys() == TENSORS.keys()


@pytest.mark.parametrize("name", ["5" * 5000, "\u00b2", "-1", "a" * 5000, ""])
def test_names_that_are_no_checkpoint_are_refused(tmp_path: Path, name: str) -> None:
    folder = RunFolder(tmp_path)
    write_checkpoint(folder.checkpoints, 2, TENSORS, {})
    assert choose_step(folder, "2") == choose_step(folder, "0002") == 2
    with pytest.raises(ValueError, match="`checkpoint` must be `best`, `last` or one of 2, but is "):
        choose_step(folder, name)
