"""Names that older versions wrote into configs, and what they are now: the one table that reads them."""

from collections.abc import Mapping
from typing import Any

RENAMED: dict[str, dict[str, str]] = {
    "data.kind": {"parallel": "translation", "labelled": "labelling", "text": "language_modelling"},
}
"""Dotted key of a tag -> older value -> present value."""


def renamed(key: str, value: Any) -> Any:
    """Return the present value of a field, given under its dotted key."""
    return RENAMED.get(key, {}).get(value, value) if isinstance(value, str) else value


def migrated(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Copy the nested values of a config, with present names."""
    return {
        name: migrated(value, f"{prefix}{name}.") if isinstance(value, Mapping) else renamed(f"{prefix}{name}", value)
        for name, value in values.items()
    }
