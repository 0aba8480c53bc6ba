"""Override fields of a config by dotted key, as the command line does: `model.d_model` and "512".

Setting the tag of a section (`model.family`) resets the section to the defaults of the named family, except for
`Part.shared_fields`. The family may also change other sections (`Part.on_selected`). Tags are set before other fields.
"""

import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from seqlab.part import Part
from seqlab.runs.config import Config, to_dict
from seqlab.runs.fields import default_section, families, fields_of, tag_name, with_tags
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.migrate import (
    OLDER_FAMILIES,
    add_values_of_run,
    current_keys,
    log_older_family,
    log_renamed,
    migrate,
    migrate_tag,
)
from seqlab.runs.task_of_run import missing_plugins_hint
from seqlab.runs.validate import ConfigError, build, check_keys, chosen_section, read_yaml, unknown_key_error
from seqlab.runs.yaml_parser import parse_yaml

Override = tuple[str, str | Sequence[str]]
"""A dotted key and its value as text, or several texts for a list."""
Value = str | int | float | bool | Path | None
"""Value of a config field that is not a list."""
Fields = Mapping[str, Value | Sequence[Value]]
"""Values by dotted key: `{"model.d_model": 256, "data.train_src": ["a.en", "b.en"]}`."""

ALTERNATIVES = {"training.max_steps": "training.max_epochs", "training.max_epochs": "training.max_steps"}
"""Fields that replace each other: key -> key that becomes null, unless both are given."""


def override(base: Config | Mapping[str, Any] | None, overrides: Iterable[Override], source: str = "") -> Config:
    """Override fields of a config, or of the nested dicts of one.

    The text of a value is parsed by the type of its field: `null` as None if the field can be None, `[a, b]` as a list
    if the field is a list, and the rest as pydantic does (`1e-3`, `true`).

    Raises:
        ConfigError: unknown key, key of another family, or invalid value. The message names the key; if the error is
            in `base`, not in `overrides`, it begins with `source`.
    """
    values = to_dict(base) if isinstance(base, Config) else with_tags(Config, migrate(base or {}))
    overrides = list(overrides)
    try:
        check_keys(Config, values)
    except ConfigError as error:
        raise ConfigError(error.key, f"{source}: {error}" if source else str(error)) from None
    # The model's tag is set first: it may choose an objective, which must not replace a given one.
    ordered = sorted(overrides, key=lambda item: item[0] != "model.family")
    later = [(key, text) for key, text in ordered if not _set_tag(values, key, text)]
    given_keys = {key for key, _ in overrides}
    for key, text in later:
        keys = current_keys(values, key)
        if keys != (key,):
            log_renamed(f"`{key}`", " and ".join(f"`{new_key}`" for new_key in keys))
        for current in keys:
            _set_field(values, current, text)
        if key in ALTERNATIVES and ALTERNATIVES[key] not in given_keys:
            _set_field(values, ALTERNATIVES[key], "null")
    try:
        return build(Config, values)
    except ConfigError as error:
        is_override = any(error.key.startswith(key) or key.startswith(error.key) for key, _ in overrides)
        raise ConfigError(error.key, f"{source}: {error}" if source and not is_override else str(error)) from None


def as_overrides(fields: Fields) -> list[Override]:
    """Convert values to the texts of command-line options."""
    return [
        (key, as_text(value) if isinstance(value, Value) else [as_text(member) for member in value])
        for key, value in fields.items()
    ]


def as_text(value: object) -> str:
    """Convert one value to the text of a command-line option."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def config_from_yaml(
    path: str | Path, overrides: Iterable[Override] = (), *, continued: RunFolder | None = None
) -> Config:
    """Read a config file and override fields of it; raises the errors of `read_yaml` and `override`.

    Args:
        path: the YAML file.
        overrides: dotted keys and their values.
        continued: a run to resume with this config; its values are used for fields that older versions lacked.
    """
    try:
        values = read_yaml(path)
        log_older_family(values["model"].get("family") if isinstance(values.get("model"), Mapping) else None)
        if continued is not None:
            values = add_values_of_run(values, to_dict(read_config(continued)))
        return override(values, overrides, source=str(path))
    except ConfigError as error:  # the file may be in a run folder, which records its plugins
        raise ConfigError(error.key, f"{error}{missing_plugins_hint(RunFolder(Path(path).parent))}") from None


def _set_tag(values: dict[str, Any], key: str, text: str | Sequence[str]) -> bool:
    """If the key is a tag, reset its section to the defaults of the named family; return whether it is one."""
    section, sections, name = _find_section(values, key)
    if name != tag_name(sections):
        return False
    tag = migrate_tag(key, _single_value(key, text))
    older = OLDER_FAMILIES.get(tag) if key == "model.family" else None
    if older is not None:
        log_older_family(tag)
        tag = older.values["family"]
    section_class = chosen_section(sections, {name: tag}, key.removesuffix(name), values)
    before = fields_of(chosen_section(sections, section, key.removesuffix(name)))
    fields = fields_of(section_class)
    shared = [field for field in getattr(section_class, "shared_fields", ()) if field in section and field in fields]
    kept = {field: section[field] for field in shared if before[field].annotation == fields[field].annotation}
    section.clear()
    section.update({name: tag, **kept} if older is None else deepcopy(older.values))
    if issubclass(section_class, Part):
        section_class.on_selected(values)
    return True


def _set_field(values: dict[str, Any], key: str, text: str | Sequence[str]) -> None:
    """Set a field that is not a tag."""
    section, sections, name = _find_section(values, key)
    fields = fields_of(chosen_section(sections, section, key.removesuffix(name)))
    if name not in fields or families(fields[name].annotation):
        raise unknown_key_error(Config, values, key)
    section[name] = parse_value(key, text, fields[name].annotation)


def _find_section(values: dict[str, Any], key: str) -> tuple[dict[str, Any], Mapping[str, type], str]:
    """Return the section of a key, the families of this section by tag, and the last part of the key.

    A section that `values` lacks is added with its defaults, so that setting one of its fields keeps the others.
    """
    *parents, name = key.split(".")
    section, sections, prefix = values, families(Config), ""
    for parent in parents:
        fields = fields_of(chosen_section(sections, section, prefix))
        sections = families(fields[parent].annotation) if parent in fields else {}
        if not sections:
            raise unknown_key_error(Config, values, key)
        if parent not in section:
            section[parent] = default_section(fields[parent])
        section, prefix = section[parent], f"{prefix}{parent}."
        if not isinstance(section, dict):
            raise ConfigError(
                prefix[:-1], f"`{prefix[:-1]}` must be a section with fields, but is {section!r} instead."
            )
    return section, sections, name


def parse_value(key: str, text: str | Sequence[str], annotation: Any) -> Any:
    """Convert text to None or a list if the field's type allows it; pydantic parses the rest."""
    options = {get_origin(option) or option for option in get_args(annotation) or (annotation,)}
    if (get_origin(annotation) or annotation) in (list, tuple):
        if not isinstance(text, str):
            return list(text) if len(text) != 1 else parse_value(key, text[0], annotation)
        if not (text.startswith("[") and text.endswith("]")):
            return [text]
        with suppress(ValueError):
            items = parse_yaml(text, key, only_text=True)
            if all(isinstance(item, str) for item in items):
                return items
        raise ConfigError(key, f"`{key}` must be a list such as [a, b], but is {reprlib.repr(text)} instead.")
    single = _single_value(key, text)
    return None if single in ("null", "~") and NoneType in options else single


def _single_value(key: str, text: str | Sequence[str]) -> str:
    """Return the only text; raises ConfigError if there are none or several."""
    texts = [text] if isinstance(text, str) else list(text)
    if len(texts) != 1:
        given = f"{len(texts)}: {' '.join(texts)}" if texts else "none"
        raise ConfigError(key, f"`{key}` takes one value, but is given {given}.")
    return texts[0]
