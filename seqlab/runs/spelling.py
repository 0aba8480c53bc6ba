"""The spelling model of a run folder, as a file."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError

from seqlab.base.atomic_io import write_bytes
from seqlab.base.parsing import read_regular
from seqlab.models.spelling import SpellingModel
from seqlab.runs.folder import RunFolder

__all__ = ["SpellingModel", "load_spelling", "save_spelling", "spelling_sha256"]
MODEL = "model.safetensors"


def save_spelling(spelling: SpellingModel, folder: Path) -> None:
    """Write what `load_spelling` reads."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / MODEL, save(spelling.weights()))


def spelling_sha256(folder: Path) -> str | None:
    """Hash a spelling model; None where the run has none."""
    path = folder / MODEL
    return hashlib.sha256(read_regular(path)).hexdigest() if path.is_file() else None


def load_spelling(run: RunFolder) -> SpellingModel | None:
    """Read a run's spelling model, None where it has none.

    Raises:
        ValueError: it is damaged, or is not the one that the run was begun with.
    """
    from safetensors.torch import load

    path, description = run.spelling / MODEL, run.read_description()
    if spelling_sha256(run.spelling) != description.get("spelling_sha256", spelling_sha256(run.spelling)):
        raise ValueError(f"{path} is damaged: it is not what the run was begun with; restore it from a copy.")
    if not path.is_file():
        return None
    try:
        return SpellingModel.from_weights(load(read_regular(path)))
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy.") from error
