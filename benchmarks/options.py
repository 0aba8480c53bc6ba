"""Options that are refused before minutes of measuring."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def refuse_unknown_systems(wanted: Sequence[str] | None, known: Iterable[str]) -> None:
    """End the program, listing what there is, where `--systems` names something else."""
    names = sorted(set(known))
    for name in wanted or ():
        if name not in names:
            raise SystemExit(f"`--systems` must be some of {names}, but names {name!r}.")


def unnamed_toolkit(option: str) -> str:
    """Say why a toolkit is not measured that lives in an environment of its own."""
    return f"not measured: {option} names the Python of its environment"


def refuse_missing_device(device: str) -> None:
    """End the program where a GPU is asked for and there is none."""
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise SystemExit("`--device cuda`: there is no CUDA device; `--quick --device cpu` tries the program.")


def refuse_missing_folder(option: str, folder: Path) -> None:
    """End the program where an option needs a folder that is not there."""
    if not folder.is_dir():
        raise SystemExit(f"`{option}`: there is no folder {folder}.")
