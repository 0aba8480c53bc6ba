"""Migrate the configs of older versions: renamed tags, and values of fields that did not exist."""

from collections.abc import Container, Mapping
from typing import Any

RENAMED_TAGS: dict[str, dict[str, str]] = {
    "data.kind": {"parallel": "translation", "labelled": "labelling", "text": "language_modelling"},
}
"""Dotted key of a tag -> older value -> current value."""

OLDER_DEFAULTS = {"data": {"max_line_bytes": None, "src_spaces": "keep", "level": "kept"}}
"""Section -> field that older versions lacked -> the value that keeps their behavior."""


def add_older_defaults(values: Mapping[str, Any], fields: Mapping[str, Container[str]]) -> dict[str, Any]:
    """Add the `OLDER_DEFAULTS` of fields that a run's config lacks; `fields` has the field names of each section."""
    migrated = dict(values)
    for section, older in OLDER_DEFAULTS.items():
        if isinstance(migrated.get(section), Mapping):
            defaults = {name: value for name, value in older.items() if name in fields[section]}
            migrated[section] = defaults | migrated[section]
    return migrated


def add_values_of_run(values: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Add a run's values of the fields in `OLDER_DEFAULTS` to a config that lacks them; both are nested dicts."""
    migrated = dict(values)
    for section, older in OLDER_DEFAULTS.items():
        run_section = run.get(section, {})
        if isinstance(migrated.get(section), Mapping):
            migrated[section] = {name: run_section[name] for name in older if name in run_section} | migrated[section]
    return migrated


def migrate_tag(key: str, value: Any) -> Any:
    """Return the current value of a tag, given its dotted key; return other values unchanged."""
    return RENAMED_TAGS.get(key, {}).get(value, value) if isinstance(value, str) else value


def migrate_tags(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Copy the nested values of a config, replacing renamed tags."""
    return {
        name: migrate_tags(value, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else migrate_tag(f"{prefix}{name}", value)
        for name, value in values.items()
    }
