"""Shared settings of the compared runs, and the class of a case. Small data sections and models are in the table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.row import ADAM, Settings, replace_prefixes

from seqlab.registry import Parts
from seqlab.runs.migrate import migrate

Run = Settings | str
"""A config, or the arguments of `seqlab train` for a run without a config file."""
RENAMED_KEYS: dict[str, str] = {}
"""Dotted keys of config.yaml in the older version, mapped to their names in the newer one."""
RENAMED_VALUES: dict[str, Mapping[str, str]] = {}
"""By key of the older version: values of the older version, mapped to those of the newer one."""
OPTIM: Settings = {**ADAM, "average_last": 3}
TRAINING: Settings = {
    **{"max_steps": 60, "log_every": 5, "save_every": 15, "valid_every": 30, "keep_best": 2},
    **{"device": "cpu", "precision": "fp32", "threads": 1},
}
FOLDERS = {"%%": "files/{case}", "%": "runs/{case}/", "@": "corpora/"}
"""By prefix: the folder of its names, relative to the working folder of a version."""


@dataclass(frozen=True)
class Case:
    """Runs that are trained in order, and lines of commands that use them.

    In all arguments and values, `@name` is replaced by the corpus `name`, `%name` by the folder of this case's run
    `name`, and `%%` by the folder of this case for files that commands write.
    """

    name: str
    runs: Mapping[str, Run]
    commands: Mapping[str, str] = field(default_factory=dict)
    is_resumed: bool = False
    """Whether the older version also starts `runs["run"]` and is stopped, and the newer version resumes that run."""


def run_of(
    data: Settings,
    model: Settings,
    *,
    optim: Settings | None = OPTIM,
    training: Settings | None = None,
    **sections: Any,
) -> Settings:
    """Return the config of a run, by default with the objective of its family; `optim=None` omits that section."""
    family = migrate({"model": model})["model"]["family"]
    sections.setdefault("objective", {"family": Parts("model")[family].default_objective})
    config = {"data": data, "model": model, "training": {**TRAINING, **(training or {})}, **sections}
    return config if optim is None else {**config, "optim": optim}


def resolve_names(value: Any, case: str) -> Any:
    """Replace `@name`, `%name` and `%%` in all strings of a nested value."""
    return replace_prefixes(value, {prefix: folder.format(case=case) for prefix, folder in FOLDERS.items()})


def flatten(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a config and their values."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, config
