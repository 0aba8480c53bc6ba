"""Names that older versions wrote into configs, and what they are now: the one table that reads them."""

from collections.abc import Container, Mapping
from typing import Any

RENAMED: dict[str, dict[str, str]] = {
    "data.kind": {"parallel": "translation", "labelled": "labelling", "text": "language_modelling"},
}
"""Dotted key of a tag -> older value -> present value."""

OLDER_BEHAVIOUR = {"data": {"max_line_bytes": None}}
"""Section -> field that older versions did not know -> the value that means what they did."""


def with_older_behaviour(values: Mapping[str, Any], fields: Mapping[str, Container[str]]) -> dict[str, Any]:
    """Add to the config of a run what its version did not know; `fields` are those that each section can have."""
    found = dict(values)
    for section, older in OLDER_BEHAVIOUR.items():
        if isinstance(found.get(section), Mapping):
            found[section] = {name: each for name, each in older.items() if name in fields[section]} | found[section]
    return found


def with_values_of(values: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a config the values that a run has in the fields of `OLDER_BEHAVIOUR`, where it leaves them out."""
    found = dict(values)
    for section, older in OLDER_BEHAVIOUR.items():
        of_run = run.get(section, {})
        if isinstance(found.get(section), Mapping):
            found[section] = {name: of_run[name] for name in older if name in of_run} | found[section]
    return found


def renamed(key: str, value: Any) -> Any:
    """Return the present value of a field, given under its dotted key."""
    return RENAMED.get(key, {}).get(value, value) if isinstance(value, str) else value


def migrated(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Copy the nested values of a config, with present names."""
    return {
        name: migrated(value, f"{prefix}{name}.") if isinstance(value, Mapping) else renamed(f"{prefix}{name}", value)
        for name, value in values.items()
    }
