"""Single fields set by dotted key, as on the command line: `model.d_model` and "512".

The tag of a section (`model.family`) resets that section to the defaults of the part that it names, but for
`Part.shared_fields`; the part may change other sections, too (`Part.on_selected`). All other fields are set after the
tags, in whatever order they are given.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from seqlab.part import Part
from seqlab.runs.config import Config, to_dict
from seqlab.runs.fields import default_section, families, fields_of, tag_name, with_tags
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.migrate import migrated, renamed, with_values_of
from seqlab.runs.use import missing_plugins_hint
from seqlab.runs.validate import ConfigError, build, check_keys, chosen_section, read_yaml, unknown_key
from seqlab.runs.yaml_parser import parse_yaml

Override = tuple[str, str | Sequence[str]]
"""A dotted key and its value as text, or its values where it is a list."""


def override(base: Config | Mapping[str, Any] | None, overrides: Iterable[Override], source: str = "") -> Config:
    """Set single fields of a config, or of the nested dicts of one.

    A text is read by the type of its field: `null` is None where the field can be None, `[a, b]` a list where it is
    one, everything else what pydantic makes of it (`1e-3`, `true`).

    Raises:
        ConfigError: an unknown key, a key of another family, or an impossible value; all name the key. Where the
            fault is in `base` rather than in `overrides`, the message begins with `source`.
    """
    values = to_dict(base) if isinstance(base, Config) else with_tags(Config, migrated(base or {}))
    overrides = list(overrides)
    try:
        check_keys(Config, values)
    except ConfigError as error:
        raise ConfigError(error.key, f"{source}: {error}" if source else str(error)) from None
    # The model's tag comes first: it may choose an objective, which a given one must not be lost to.
    ordered = sorted(overrides, key=lambda each: each[0] != "model.family")
    later = [(key, text) for key, text in ordered if not _set_tag(values, key, text)]
    for key, text in later:
        _set_field(values, key, text)
    try:
        return build(Config, values)
    except ConfigError as error:
        is_own = any(error.key.startswith(key) or key.startswith(error.key) for key, _ in overrides)
        raise ConfigError(error.key, f"{source}: {error}" if source and not is_own else str(error)) from None


def config_from_yaml(
    path: str | Path, overrides: Iterable[Override] = (), *, continued: RunFolder | None = None
) -> Config:
    """Read a config file and set single fields of it; errors as `read_yaml` and `override`, naming the file.

    Fields that older versions did not know have the values of the run that is `continued`, unless they are given.
    """
    try:
        values = read_yaml(path)
        if continued is not None:
            values = with_values_of(values, to_dict(read_config(continued)))
        return override(values, overrides, source=str(path))
    except ConfigError as error:  # of a run's own config perhaps
        raise ConfigError(error.key, f"{error}{missing_plugins_hint(RunFolder(Path(path).parent))}") from None


def _set_tag(values: dict[str, Any], key: str, text: str | Sequence[str]) -> bool:
    """Reset a section to the family that its tag names; tell whether the key is a tag."""
    section, sections, name = _find(values, key)
    if name != tag_name(sections):
        return False
    tag = renamed(key, _single(key, text))
    chosen = chosen_section(sections, {name: tag}, key.removesuffix(name))
    before = fields_of(chosen_section(sections, section, key.removesuffix(name)))
    fields = fields_of(chosen)
    shared = [each for each in getattr(chosen, "shared_fields", ()) if each in section and each in fields]
    kept = {each: section[each] for each in shared if before[each].annotation == fields[each].annotation}
    section.clear()
    section.update({name: tag, **kept})
    if issubclass(chosen, Part):
        chosen.on_selected(values)
    return True


def _set_field(values: dict[str, Any], key: str, text: str | Sequence[str]) -> None:
    section, sections, name = _find(values, key)
    fields = fields_of(chosen_section(sections, section, key.removesuffix(name)))
    if name not in fields or families(fields[name].annotation):
        raise unknown_key(Config, values, key)
    section[name] = parse(key, text, fields[name].annotation)


def _find(values: dict[str, Any], key: str) -> tuple[dict[str, Any], Mapping[str, type], str]:
    """Return the section that a key is in, the families it comes in, and the last part of the key.

    A section that `values` leaves out is filled in with its defaults, so that setting one field keeps the others.
    """
    *parents, name = key.split(".")
    section, sections, prefix = values, families(Config), ""
    for parent in parents:
        fields = fields_of(chosen_section(sections, section, prefix))
        sections = families(fields[parent].annotation) if parent in fields else {}
        if not sections:
            raise unknown_key(Config, values, key)
        if parent not in section:
            section[parent] = default_section(fields[parent])
        section, prefix = section[parent], f"{prefix}{parent}."
        if not isinstance(section, dict):
            raise ConfigError(
                prefix[:-1], f"`{prefix[:-1]}` must be a section with fields, but is {section!r} instead."
            )
    return section, sections, name


def parse(key: str, text: str | Sequence[str], annotation: Any) -> Any:
    """Read a text, or several, as a value of a field's type: what is left to pydantic stays text."""
    options = {get_origin(option) or option for option in get_args(annotation) or (annotation,)}
    if (get_origin(annotation) or annotation) in (list, tuple):
        if not isinstance(text, str):
            return list(text) if len(text) != 1 else parse(key, text[0], annotation)
        if not (text.startswith("[") and text.endswith("]")):
            return [text]
        with suppress(ValueError):
            items = parse_yaml(text, key, only_text=True)
            if all(isinstance(item, str) for item in items):
                return items
        raise ConfigError(key, f"`{key}` must be a list such as [a, b], but is {reprlib.repr(text)} instead.")
    single = _single(key, text)
    return None if single in ("null", "~") and NoneType in options else single


def _single(key: str, text: str | Sequence[str]) -> str:
    texts = [text] if isinstance(text, str) else list(text)
    if len(texts) != 1:
        given = f"{len(texts)}: {' '.join(texts)}" if texts else "none"
        raise ConfigError(key, f"`{key}` takes one value, but is given {given}.")
    return texts[0]
