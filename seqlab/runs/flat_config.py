"""Values of configs by dotted key, such as `training.max_steps`, and the values in which two configs differ."""

from typing import Any

from seqlab.runs.config import Config, to_dict

Changes = dict[str, tuple[Any, Any]]
"""Changed config values: dotted key -> (old, new); None if the key is missing in that config."""


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested sections into dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def differing_fields(old: Config, new: Config) -> Changes:
    """Return the values that differ between two configs."""
    before, after = flatten(to_dict(old)), flatten(to_dict(new))
    keys = [*before, *(key for key in after if key not in before)]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}
