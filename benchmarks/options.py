"""Checks of options before a long measurement starts."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def refuse_unknown_systems(wanted: Sequence[str] | None, known: Iterable[str]) -> None:
    """Raise SystemExit with the known names if `--systems` contains an unknown name."""
    names = sorted(set(known))
    for name in wanted or ():
        if name not in names:
            raise SystemExit(f"`--systems` must be among {names}, but {name!r} is not.")


def missing_toolkit_note(option: str) -> str:
    """Return the note for a toolkit whose Python environment was not given."""
    return f"not measured: give the Python of its environment as {option}"


def refuse_missing_device(device: str) -> None:
    """Raise SystemExit if a GPU is requested and none is available."""
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise SystemExit(
                "`--device cuda`: there is no CUDA device. To test the program without one, use `--quick --device cpu`."
            )


def refuse_missing_folder(option: str, folder: Path) -> None:
    """Raise SystemExit if the folder of an option does not exist."""
    if not folder.is_dir():
        raise SystemExit(f"`{option}`: the folder {folder} does not exist.")
