"""What a trained run is for, told from its config file alone: whoever only asks this loads no torch."""

from pathlib import Path
from typing import Any

from seqlab.data.config import DataConfig
from seqlab.registry import default_part, find
from seqlab.runs.folder import RunFolder
from seqlab.runs.migrate import migrated
from seqlab.runs.validate import build, parse_yaml


def data_section(path: str | Path) -> DataConfig:
    """Read the data section of a run's config.yaml.

    Raises:
        FileNotFoundError, ValueError: there is no config file, or it is not one.
    """
    folder = RunFolder(path)
    values = migrated(parse_yaml(folder.read_config_text(), str(folder.config_file))).get("data")
    section: dict[str, Any] = values if isinstance(values, dict) else {}
    task = find("task", str(section[DataConfig.tag_field])) if DataConfig.tag_field in section else default_part("task")
    found: DataConfig = build(task, section, source=str(folder.config_file))
    return found


def refuse_other_product(path: str | Path, needed: str) -> None:
    """Raise ValueError, naming what the run is for, where it is not what is needed, such as `a translator`."""
    found = data_section(path)
    if found.product != needed:
        raise ValueError(f"{path} {found.purpose}. What is needed here is {needed}.")


def is_a(product: str, path: str | Path) -> bool:
    """Tell whether a folder is a run of this kind; what is wrong with one that is no run, loading says."""
    try:
        return data_section(path).product == product
    except (OSError, ValueError):
        return False
