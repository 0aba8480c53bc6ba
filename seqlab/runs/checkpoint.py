"""Checkpoints: folders that are whole or absent, weights in safetensors, nothing unpickled.

checkpoints/step_00000500/model.safetensors      the weights that are trained
                          averaged.safetensors   their average, where one is kept: what inference uses
                          state.safetensors      tensors that only training needs
                          state.json             numbers that only training needs, the checksums of the other files,
                                                 and its own
"""

import hashlib
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from typing_extensions import TypedDict

from seqlab.base.atomic_io import CHECKSUM_KEY, rename, verify_checksum, with_checksum, write_bytes, write_json
from seqlab.base.bounds import CountOrZero
from seqlab.base.parsing import MAX_DOCUMENT_BYTES, parse_json, read_regular, validate_type
from seqlab.runs.folder import OLDER_STATES, UNSEALED_VERSION, RunFolder

if TYPE_CHECKING:  # whoever only asks which checkpoints there are needs no torch
    import torch
    from torch import Tensor

WEIGHTS, AVERAGED, STATE_TENSORS, STATE = "model", "averaged", "state", "state.json"
CHECKSUMS = "crc32"


class _State(TypedDict, total=False):
    """The types of what state.json holds; training reads `progress` and `figures` by types of its own."""

    progress: dict[str, Any]
    best: list[tuple[float, float, int] | tuple[float, int]]
    figures: dict[str, Any]
    journal_size: CountOrZero
    data_kind: str
    crc32: dict[str, int]


def checkpoint_name(step: int) -> str:
    """Name the folder of a step so that names sort like steps."""
    return f"step_{step:08d}"


def checkpoint_steps(folder: str | Path) -> list[int]:
    """List the steps that have a whole checkpoint, ascending."""
    folder = Path(folder)
    names = (re.fullmatch(r"step_(\d{8,})", path.name) for path in folder.glob("step_*") if path.is_dir())
    return sorted(int(name[1]) for name in names if name)


def choose_step(folder: RunFolder, checkpoint: str) -> int:
    """Find the step that `best`, `last` or a number names; raises ValueError listing what there is."""
    steps = checkpoint_steps(folder.checkpoints)
    if not steps:
        raise ValueError(f"{folder.path} has no checkpoint yet: train it first.")
    if checkpoint == "last":
        return steps[-1]
    if checkpoint == "best":
        ranked = read_state(folder.checkpoints / checkpoint_name(steps[-1])).get("best", [])
        return next((step for *_, step in ranked if step in steps), steps[-1])
    if checkpoint.isdecimal() and int(checkpoint) in steps:
        return int(checkpoint)
    known = ", ".join(map(str, steps))
    raise ValueError(f"`checkpoint` must be `best`, `last` or one of {known}, but is `{checkpoint}` instead.")


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote or deleted a checkpoint has left behind."""
    for ending in (".tmp", ".deleted"):
        for path in folder.glob(f"step_*{ending}"):
            shutil.rmtree(path)


def write_checkpoint(
    folder: Path, step: int, tensors: "Mapping[str, Mapping[str, Tensor]]", state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint under a temporary name, sync it to the disk and rename it; a failed write leaves nothing.

    `tensors` maps a file's stem (`model`, `averaged`, `state`) to its tensors. Raises OSError (a full disk).
    """
    final = folder / checkpoint_name(step)
    building = folder / f"{final.name}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        checksums = {stem: _write_tensors(building, stem, content) for stem, content in tensors.items()}
        write_json(building / STATE, with_checksum({**state, CHECKSUMS: checksums}))
        if final.exists():  # the same step again: it failed before, and was replayed
            delete_checkpoint(final)
        rename(building, final)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return final


def _write_tensors(folder: Path, stem: str, tensors: "Mapping[str, Tensor]") -> int:
    """Write one file and give its checksum; two of them are never in memory at once."""
    from safetensors.torch import save

    serialized = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    write_bytes(folder / f"{stem}.safetensors", serialized)
    return zlib.crc32(serialized)


def delete_checkpoint(checkpoint: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that what bears its name is always whole."""
    doomed = checkpoint.with_name(f"{checkpoint.name}.deleted")
    shutil.rmtree(doomed, ignore_errors=True)
    checkpoint.rename(doomed)
    shutil.rmtree(doomed)


def read_tensors(checkpoint: Path, stem: str, device: "torch.device | str" = "cpu") -> "dict[str, Tensor]":
    """Read one file of a checkpoint, sorted by name; raises ValueError naming it where it is missing or damaged.

    safetensors gives each process an order of its own, but ranks that divide the tensors must do so in one order.
    """
    from safetensors.torch import load

    path = checkpoint / f"{stem}.safetensors"
    if not path.is_file():
        raise _damaged(path, "there is no such file")
    content = read_regular(path)
    state, is_sealed = _read_state(checkpoint)
    checksums = state.get(CHECKSUMS, {})
    if (stem in checksums or is_sealed) and zlib.crc32(content) != checksums.get(stem):
        raise _damaged(path, "its checksum is not the one in state.json")
    try:
        return {name: value.to(device) for name, value in sorted(load(content).items())}
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:  # of a dtype that torch lacks
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read the numbers of a checkpoint; raises ValueError where they are missing or damaged."""
    return _read_state(checkpoint)[0]


def _read_state(checkpoint: Path) -> tuple[dict[str, Any], bool]:
    """Read the numbers of a checkpoint, and tell whether they carry a checksum: since run format 2 all do."""
    path = checkpoint / STATE
    try:
        content = read_regular(path, MAX_DOCUMENT_BYTES)
        state = validate_type(parse_json(content), dict[str, Any])
        validate_type(state, _State)
        if CHECKSUM_KEY in state:
            return verify_checksum(state), True
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not _is_of_format_1(checkpoint, content):
        raise _damaged(path, "its checksum is missing")
    return state, False


def _is_of_format_1(checkpoint: Path, state: bytes) -> bool:
    """Tell whether a state without a checksum was written in run format 1, by the run.json of its run."""
    description = RunFolder(checkpoint.parent.parent).read_description()
    if description["format_version"] == UNSEALED_VERSION:
        return True
    known = description.get(OLDER_STATES, {}).get(_name_in_run(checkpoint))
    return bool(known == hashlib.sha256(state).hexdigest())


def hash_unsealed_states(run: RunFolder) -> dict[str, str]:
    """Return the SHA-256 of each state.json without a checksum of a run of format 1, by the folder that it is in."""
    found = {}
    for folder in (run.checkpoints, run.failures):
        for step in checkpoint_steps(folder):
            checkpoint = folder / checkpoint_name(step)
            if not _read_state(checkpoint)[1]:
                content = read_regular(checkpoint / STATE)
                found[_name_in_run(checkpoint)] = hashlib.sha256(content).hexdigest()
    return found


def _name_in_run(checkpoint: Path) -> str:
    return f"{checkpoint.parent.name}/{checkpoint.name}"


def inference_weights(checkpoint: Path) -> "dict[str, Tensor]":
    """Read the weights to decode with: the average where there is one."""
    return read_tensors(checkpoint, _inference_stem(read_state(checkpoint).get(CHECKSUMS, {})))


def inference_checksum(checkpoint: Path) -> int | None:
    """Tell the weights to decode with from others without reading them; None where their checksum was not kept."""
    checksums = read_state(checkpoint).get(CHECKSUMS, {})
    return checksums.get(_inference_stem(checksums))


def _inference_stem(checksums: Mapping[str, int]) -> str:
    return AVERAGED if AVERAGED in checksums else WEIGHTS


def _damaged(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path} is missing or damaged ({reason}). Delete the folder {path.parent} to go on from the checkpoint before "
        "it, where there is one; else train anew."
    )
