"""A row of the table: the config of a short training, and the tolerances of its tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from seqlab.registry import Parts
from seqlab.runs.config import Config, from_dict
from seqlab.runs.migrate import migrate

Settings = Mapping[str, Any]
"""Fields of one section of a config."""

ADAM: Settings = {"optimizer": {"family": "adam", "lr": 0.01}, "schedule": {"family": "constant", "warmup_steps": 2}}


@dataclass(frozen=True)
class Row:
    """The config of a training of a few steps, with which all contracts are tested, and the tolerances of the tests."""

    name: str
    data: Settings
    """The `data` section; `@` is the folder of the corpora."""
    model: Settings
    objective: Settings = field(default_factory=dict)
    """Empty: the default objective of the family."""
    optim: Settings = field(default_factory=lambda: ADAM)
    training: Settings = field(default_factory=dict)
    is_count_based: bool = False
    """Whether the model is fitted by counting, in one step."""
    checkpoints: tuple[int, int, int] = (2, 4, 6)
    """Steps to resume from: between two log lines, at a validation, and in a later epoch, unless intervals differ."""
    plugin: bool = False
    """Whether parts are those of `tests/plugin`."""
    exact: Settings = field(default_factory=dict)
    """Fields (`section.field`) or sections whose values remove random numbers; dropouts are always 0."""
    is_random: bool = False
    """Whether the loss draws random numbers for each micro-step, so that it depends on their division."""
    single_process: bool = False
    """Whether the objective has a state, such as a replay buffer, that cannot be divided among ranks."""
    norm_over_micro_steps: bool = False
    """Whether the model has a batch norm, whose statistics are those of a micro-step over all ranks."""
    parallel: str = "ddp"
    rounding: float = 1e-4
    """Relative tolerance of gradient norms and weights for another division of a step."""
    invariance: float = 0.0
    """Tolerance of outputs alone and in a batch: 0 for bitwise; convolutions sum in another order."""

    @property
    def draws_random_numbers(self) -> bool:
        """Whether the objective draws random numbers that `exact_config` removes or `is_random` declares."""
        return not self.single_process and (self.is_random or any(key.startswith("objective") for key in self.exact))

    @property
    def family(self) -> str:
        """Current name of the model's family."""
        return str(self.current_model["family"])

    @property
    def current_model(self) -> dict[str, Any]:
        """The `model` section under its current names."""
        model: dict[str, Any] = migrate({"model": self.model})["model"]
        return model

    def has_data_field(self, name: str) -> bool:
        """Return whether the `data` section of the task has a field."""
        return name in {item.name for item in fields(Parts("task", "kind")[self.data["kind"]])}

    def config(self, corpora: Path, **changes: Any) -> Config:
        """Build the config; `changes` sets fields (`section__field`)."""
        training = {
            **{"max_steps": 8, "log_every": 3, "save_every": 2, "valid_every": 4},
            **{"device": "cpu", "precision": "fp32", "threads": 1},
        }
        values: dict[str, Any] = {
            "data": replace_prefixes(self.data, {"@": f"{corpora}/"}),
            "model": self.current_model,
            "objective": dict(self.objective) or {"family": Parts("model")[self.family].default_objective},
            "training": training | dict(self.training),
        }
        if not self.is_count_based:
            values["optim"] = dict(self.optim)
        for key, value in changes.items():
            set_field(values, key.replace("__", "."), value)
        return from_dict(values)

    def exact_config(self, corpora: Path, **changes: Any) -> Config:
        """Build the config of a shorter training without dropout, whose losses do not depend on random numbers."""
        model = self.config(corpora, **changes).model
        sections = [("model", model), *((f"model.{k}", each) for k, each in vars(model).items() if is_dataclass(each))]
        exact = {
            f"{section}.{name}": 0.0
            for section, values in sections
            for name in vars(values)
            if name.endswith("dropout") or name == "unknown_share"
        }
        optimizer = Parts("optimizer")[self.optim["optimizer"]["family"]]
        if "eps" in {item.name for item in fields(optimizer)} and not self.is_count_based:
            exact["optim.optimizer.eps"] = 1e-3  # a smaller one amplifies rounding errors of gradients of 0
        limits = {"max_steps": 4, "log_every": 1, "save_every": 2, "valid_every": 2}
        exact |= {f"training.{name}": value for name, value in limits.items()} | dict(self.exact)
        return self.config(corpora, **{key.replace(".", "__"): value for key, value in exact.items()}, **changes)


def set_field(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a field by its dotted key."""
    *sections, name = key.split(".")
    for section in sections:
        values[section] = dict(values.get(section, {}))
        values = values[section]
    values[name] = value


def replace_prefixes(value: Any, folders: Mapping[str, str]) -> Any:
    """Replace the prefix of each string in a nested value by its folder."""
    if isinstance(value, str):
        prefix = next((prefix for prefix in folders if value.startswith(prefix)), "")
        return folders.get(prefix, "") + value.removeprefix(prefix)
    if isinstance(value, Mapping):
        return {name: replace_prefixes(item, folders) for name, item in value.items()}
    return [replace_prefixes(item, folders) for item in value] if isinstance(value, list | tuple) else value
