"""What a trained run is for, told from its config file alone: whoever only asks this loads no torch."""

from pathlib import Path

from seqlab.runs.folder import RunFolder
from seqlab.runs.validate import parse_yaml

USES = {
    "parallel": "translates: use `seqlab translate` or `seqlab score`",
    "labelled": "labels: use `seqlab label`",
    "text": "is a language model: use `seqlab generate`, `seqlab perplexity` or `seqlab score`",
    "masked": "is a masked model, which other runs start from: use `seqlab train --init_from`",
}
"""What a run of each kind of data is for, of text in which tokens are hidden apart."""
NAMES = {"parallel": "a translator", "labelled": "a labeller", "text": "a language model"}


def use_of(folder: RunFolder) -> str:
    """Return the kind of the data that a run has learnt from, or `masked`; a file without a kind is of pairs.

    Raises:
        FileNotFoundError, ValueError: there is no config file, or it is not one.
    """
    data = parse_yaml(folder.read_config_text(), str(folder.config_file)).get("data")
    section = data if isinstance(data, dict) else {}
    return "masked" if section.get("mask_share") else str(section.get("kind", "parallel"))


def refuse_other_use(path: str | Path, kind: str) -> None:
    """Raise ValueError, naming what the run is for, where it did not learn from this kind of data."""
    found = use_of(RunFolder(Path(path)))
    if found != kind and found in USES:
        raise ValueError(f"{path} {USES[found]}. What is needed here is {NAMES[kind]}.")


def is_for(path: str | Path, use: str) -> bool:
    """Tell whether a folder is a run of this use; what is wrong with one that is no run, loading says."""
    try:
        return use_of(RunFolder(Path(path))) == use
    except (OSError, ValueError):
        return False
