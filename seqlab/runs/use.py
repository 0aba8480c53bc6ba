"""What a trained run is for, told from its config file alone: whoever only asks this loads no torch."""

from pathlib import Path
from typing import Any

from seqlab.data.config import DataConfig
from seqlab.plugins import missing_plugins
from seqlab.registry import UnknownPart, default_part, find_part, import_target
from seqlab.runs.folder import PLUGINS, RunFolder
from seqlab.runs.migrate import migrated
from seqlab.runs.validate import build, parse_config


def data_section(path: str | Path) -> DataConfig:
    """Read the data section of a run's config.yaml.

    Raises:
        FileNotFoundError, ValueError: there is no config file, or it is not one.
    """
    folder = RunFolder(path)
    values = migrated(parse_config(folder.read_config_text(), str(folder.config_file))).get("data")
    section: dict[str, Any] = values if isinstance(values, dict) else {}
    name = section.get(DataConfig.tag_field)
    try:
        task = default_part("task") if name is None else find_part("task", str(name))
    except UnknownPart as error:
        raise UnknownPart(f"{error}{missing_plugins_hint(folder)}") from None
    found: DataConfig = build(task, section, source=str(folder.config_file))
    return found


def serve(command: str, path: str | Path, *arguments: Any) -> int | None:
    """Carry out a command as the task of a run does; raises ValueError where the task does not serve it."""
    RunFolder(path).refuse_missing()
    data = data_section(path)
    if command not in data.serves:
        raise ValueError(f"{path} {data.purpose}. It is no run for `seqlab {command}`.")
    status: int | None = import_target(data.serves[command])(*arguments)
    return status


def missing_plugins_hint(folder: RunFolder) -> str:
    """Name the plugins of a run whose parts are not registered, for the end of a message."""
    missing = missing_plugins(folder.read_description().get(PLUGINS)) if folder.exists() else []
    if not missing:
        return ""
    return (
        f" The run was trained with the plugin {', '.join(map(repr, missing))}, which is not loaded: name it "
        "with `--plugin`, or `plugins` in Python. A plugin runs code: load only what you trust."
    )


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
