"""The spelling model of a run folder, as a file."""

from pathlib import Path

from safetensors import SafetensorError

from seqlab.durable import write_bytes
from seqlab.models.spelling import SpellingModel

__all__ = ["SpellingModel", "load_spelling", "save_spelling"]
MODEL = "model.safetensors"


def save_spelling(spelling: SpellingModel, folder: Path) -> None:
    """Write what `load_spelling` reads."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / MODEL, save(spelling.weights()))


def load_spelling(folder: Path) -> SpellingModel | None:
    """Read a spelling model, None where the run has none; raises ValueError where it is damaged."""
    from safetensors.torch import load

    path = folder / MODEL
    if not path.is_file():
        return None
    try:
        return SpellingModel.from_weights(load(path.read_bytes()))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy.") from error
