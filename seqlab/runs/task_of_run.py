"""The task of a trained run, read from its config file without importing torch."""

from pathlib import Path
from typing import Any

from seqlab.data.config import DataConfig
from seqlab.plugins import missing_plugins
from seqlab.registry import UnknownPart, default_part, find_part, import_target
from seqlab.runs.folder import PLUGINS, RunFolder
from seqlab.runs.migrate import migrate
from seqlab.runs.validate import build, parse_config


def read_data_config(path: str | Path) -> DataConfig:
    """Read the data section of a run's config.yaml.

    Raises:
        FileNotFoundError: there is no config file.
        ValueError: the config file is invalid, or its task is not registered.
    """
    folder = RunFolder(path)
    values = migrate(parse_config(folder.read_config_text(), str(folder.config_file))).get("data")
    section: dict[str, Any] = values if isinstance(values, dict) else {}
    name = section.get(DataConfig.tag_field)
    try:
        task = default_part("task") if name is None else find_part("task", str(name))
    except UnknownPart as error:
        raise UnknownPart(f"{error}{missing_plugins_hint(folder)}") from None
    data_config: DataConfig = build(task, section, source=str(folder.config_file))
    return data_config


def run_task_command(command: str, path: str | Path, *arguments: Any) -> int | None:
    """Run the task's implementation of a command; raises ValueError if the task of the run lacks the command."""
    RunFolder(path).refuse_missing()
    data = read_data_config(path)
    if command not in data.command_handlers:
        raise ValueError(f"{path} {data.usage_hint}. It cannot be used with `seqlab {command}`.")
    status: int | None = import_target(data.command_handlers[command])(*arguments)
    return status


def missing_plugins_hint(folder: RunFolder) -> str:
    """Return a sentence about the plugins of a run that are not loaded, for the end of an error message, or ''."""
    missing = missing_plugins(folder.read_description().get(PLUGINS)) if folder.exists() else []
    if not missing:
        return ""
    return (
        f" The run was trained with the plugin {', '.join(map(repr, missing))}, which is not loaded: name it "
        "with `--plugin`, or `plugins` in Python. A plugin runs code: load only what you trust."
    )


def refuse_other_models(path: str | Path, needed: str) -> None:
    """Raise ValueError if the model of a run is not of the needed kind, such as `a translator`."""
    data_config = read_data_config(path)
    if data_config.model_noun != needed:
        raise ValueError(f"{path} is not {needed}; it {data_config.usage_hint}.")
