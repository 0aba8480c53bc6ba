"""Checkpoints: write atomically, verify checksums, read and delete; safetensors and JSON, no pickle.

checkpoints/step_00000500/model.safetensors      the trained weights
                          averaged.safetensors   their average, if the run keeps one: inference uses it
                          state.safetensors      tensors of the training state, such as the optimizer's
                          state.json             the rest of the training state, and checksums of all files
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
from seqlab.base.parsing import MAX_DOCUMENT_BYTES, parse_digits, parse_json, read_regular, validate_type
from seqlab.runs.folder import FORMAT_1_STATES, FORMAT_WITHOUT_CHECKSUMS, RunFolder
from seqlab.runs.migrate import current_weight_name

if TYPE_CHECKING:  # listing checkpoints does not import torch
    import torch
    from torch import Tensor

WEIGHTS, AVERAGED, STATE_TENSORS, STATE = "model", "averaged", "state", "state.json"
CHECKSUMS = "crc32"


class _StateSchema(TypedDict, total=False):
    """Types of the values of state.json; `seqlab.training` checks the contents of `progress` and `figures`."""

    progress: dict[str, Any]
    best: list[tuple[float, float, int] | tuple[float, int]]
    figures: dict[str, Any]
    journal_size: CountOrZero
    data_kind: str
    crc32: dict[str, int]


def checkpoint_name(step: int) -> str:
    """Return the folder name of a step's checkpoint; names sort in the order of steps."""
    return f"step_{step:08d}"


def checkpoint_steps(folder: str | Path) -> list[int]:
    """List the steps that have a complete checkpoint, ascending."""
    folder = Path(folder)
    names = (re.fullmatch(r"step_(\d{8,})", path.name) for path in folder.glob("step_*") if path.is_dir())
    return sorted(int(name[1]) for name in names if name)


def choose_step(folder: RunFolder, checkpoint: str) -> int:
    """Return the step of a checkpoint given as `best`, `last` or a step number.

    Raises:
        ValueError: there is no such checkpoint; lists the existing ones.
    """
    steps = checkpoint_steps(folder.checkpoints)
    if not steps:
        raise ValueError(f"{folder.path} has no checkpoint yet: train the run first.")
    if checkpoint == "last":
        return steps[-1]
    if checkpoint == "best":
        ranked = read_state(folder.checkpoints / checkpoint_name(steps[-1])).get("best", [])
        return next((step for *_, step in ranked if step in steps), steps[-1])
    if (step := parse_digits(checkpoint)) is not None and step in steps:
        return step
    known = ", ".join(map(str, steps))
    raise ValueError(f"`checkpoint` must be `best`, `last` or one of {known}, but is `{checkpoint}` instead.")


def remove_leftovers(folder: Path) -> None:
    """Remove incomplete checkpoints that a killed process left while writing or deleting them."""
    for ending in (".tmp", ".deleted"):
        for path in folder.glob(f"step_*{ending}"):
            shutil.rmtree(path)


def write_checkpoint(
    folder: Path, step: int, tensors: "Mapping[str, Mapping[str, Tensor]]", state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint atomically: under a temporary name, synced to the disk, then renamed.

    Args:
        folder: the folder of all checkpoints.
        step: number of optimizer steps done.
        tensors: stem of a file (`model`, `averaged`, `state`) -> name -> tensor.
        state: the training state for state.json.

    Raises:
        OSError: the disk is full, for example. A failed write leaves no files.
    """
    final = folder / checkpoint_name(step)
    temporary = folder / f"{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        checksums = {stem: _write_tensors(temporary, stem, content) for stem, content in tensors.items()}
        write_json(temporary / STATE, with_checksum({**state, CHECKSUMS: checksums}))
        if final.exists():  # the step failed before and was replayed
            delete_checkpoint(final)
        rename(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return final


def _write_tensors(folder: Path, stem: str, tensors: "Mapping[str, Tensor]") -> int:
    """Write one safetensors file and return its CRC-32; one serialized file is in memory at a time."""
    from safetensors.torch import save

    serialized = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    write_bytes(folder / f"{stem}.safetensors", serialized)
    return zlib.crc32(serialized)


def delete_checkpoint(checkpoint: Path) -> None:
    """Delete a checkpoint: rename it first, so that each folder with a checkpoint's name is complete."""
    renamed = checkpoint.with_name(f"{checkpoint.name}.deleted")
    shutil.rmtree(renamed, ignore_errors=True)
    checkpoint.rename(renamed)
    shutil.rmtree(renamed)


def read_tensors(checkpoint: Path, stem: str, device: "torch.device | str" = "cpu") -> "dict[str, Tensor]":
    """Read one safetensors file of a checkpoint as a dict sorted by name.

    The order in which safetensors lists the tensors varies between processes, but ranks that shard them need the same
    order.

    Raises:
        ValueError: the file is missing or damaged.
    """
    from safetensors.torch import load

    path = checkpoint / f"{stem}.safetensors"
    if not path.is_file():
        raise _damage_error(path, "there is no such file")
    content = read_regular(path)
    state, has_checksum = _read_state(checkpoint)
    checksums = state.get(CHECKSUMS, {})
    if (stem in checksums or has_checksum) and zlib.crc32(content) != checksums.get(stem):
        raise _damage_error(path, "its checksum differs from the one in state.json")
    try:
        return {name: value.to(device) for name, value in sorted(load(content).items())}
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:  # e.g. a dtype that torch lacks
        raise _damage_error(path, f"{type(error).__name__}: {error}") from error


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint's state.json; raises ValueError if it is missing or damaged."""
    return _read_state(checkpoint)[0]


def _read_state(checkpoint: Path) -> tuple[dict[str, Any], bool]:
    """Read a checkpoint's state.json; also return whether it contains its checksum (always, since run format 2)."""
    path = checkpoint / STATE
    try:
        content = read_regular(path, MAX_DOCUMENT_BYTES)
        state = validate_type(parse_json(content), dict[str, Any])
        validate_type(state, _StateSchema)
        if CHECKSUM_KEY in state:
            return verify_checksum(state), True
    except (OSError, ValueError) as error:
        raise _damage_error(path, error) from error
    if not _has_format_1(checkpoint, content):
        raise _damage_error(path, "its checksum is missing")
    return state, False


def _has_format_1(checkpoint: Path, state: bytes) -> bool:
    """Check against run.json whether a state.json without a checksum was written in run format 1."""
    description = RunFolder(checkpoint.parent.parent).read_description()
    if description["format_version"] == FORMAT_WITHOUT_CHECKSUMS:
        return True
    recorded = description.get(FORMAT_1_STATES, {}).get(_name_in_run(checkpoint))
    return bool(recorded == hashlib.sha256(state).hexdigest())


def hash_format_1_states(run: RunFolder) -> dict[str, str]:
    """Map each checkpoint of a run of format 1 to the SHA-256 of its state.json, which contains no checksum."""
    hashes = {}
    for folder in (run.checkpoints, run.failures):
        for step in checkpoint_steps(folder):
            checkpoint = folder / checkpoint_name(step)
            if not _read_state(checkpoint)[1]:
                content = read_regular(checkpoint / STATE)
                hashes[_name_in_run(checkpoint)] = hashlib.sha256(content).hexdigest()
    return hashes


def _name_in_run(checkpoint: Path) -> str:
    """Return a checkpoint's path relative to its run folder."""
    return f"{checkpoint.parent.name}/{checkpoint.name}"


def read_weights(
    checkpoint: Path, family: str, stem: str | None = None, device: "torch.device | str" = "cpu"
) -> "dict[str, Tensor]":
    """Read the weights of a model under their current names, in the order of their names in the file.

    Args:
        checkpoint: the folder of the checkpoint.
        family: family of the model.
        stem: `model` or `averaged`; None reads the weights for inference, which are averaged if the checkpoint has
            averaged ones.
        device: device of the weights.

    Raises:
        ValueError: the file is missing or damaged.
    """
    stem = stem or _inference_stem(read_state(checkpoint).get(CHECKSUMS, {}))
    tensors = read_tensors(checkpoint, stem, device)
    return {current_weight_name(family, name): value for name, value in tensors.items()}


def inference_checksum(checkpoint: Path) -> int | None:
    """Return the CRC-32 of the weights for inference without reading them; None if it was not recorded."""
    checksums = read_state(checkpoint).get(CHECKSUMS, {})
    return checksums.get(_inference_stem(checksums))


def _inference_stem(checksums: Mapping[str, int]) -> str:
    return AVERAGED if AVERAGED in checksums else WEIGHTS


def _damage_error(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path} is missing or damaged ({reason}). Delete the folder {path.parent} to continue from an earlier "
        "checkpoint, if there is one; otherwise train again."
    )
