"""Build and validate configs from plain values; one-line error messages that name the key."""

import reprlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from seqlab.base.invalid_values import describe_invalid_value
from seqlab.base.nearest import nearest_hint
from seqlab.base.parsing import MAX_DOCUMENT_BYTES, read_regular
from seqlab.part import Part
from seqlab.registry import broken_plugins_hint
from seqlab.runs.fields import default_section, families, fields_of, list_fields, nearest_key, tag_name, with_tags
from seqlab.runs.yaml_parser import parse_yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """Invalid config; the message names the key, the problem and the value."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def build(config_type: type[T], values: object, source: str = "") -> T:
    """Build a config from nested dicts in the types of YAML.

    Raises:
        ConfigError: unknown key or invalid value; the message begins with `source`, such as the name of a file.
    """
    try:
        values = with_tags(config_type, values)
        check_keys(config_type, values)
        return TypeAdapter(config_type).validate_python(values)
    except ValidationError as error:
        key, message = describe_validation_error(error, config_type, values)
        raise ConfigError(key, f"{source}: {message}" if source else message) from None
    except ConfigError as error:
        raise ConfigError(error.key, f"{source}: {error}" if source else str(error)) from None


def check_keys(config_type: type, values: object) -> None:
    """Raise ConfigError for the first key of nested dicts that the config class lacks; names the nearest known key."""

    def check(annotation: Any, section: object, prefix: str) -> None:
        sections = families(annotation)
        if not sections or not isinstance(section, Mapping):
            return  # a plain value, which pydantic validates
        section_class = chosen_section(sections, section, prefix, values)
        for name, value in section.items():
            if name not in fields_of(section_class):
                raise unknown_key_error(config_type, values, f"{prefix}{name}")
            check(fields_of(section_class)[name].annotation, value, f"{prefix}{name}.")

    check(config_type, values, "")


def chosen_section(
    sections: Mapping[str, type], values: Mapping[str, Any], prefix: str, config_values: object = None
) -> type:
    """Return the section class of the tag in `values`.

    Raises:
        ConfigError: the tag is missing or unknown. The message names the parts that fit the other sections, which
            `config_values` contains.
    """
    name = tag_name(sections)
    if not name:
        return next(iter(sections.values()))
    tag, key = values.get(name), prefix + name
    if isinstance(tag, Hashable) and tag in sections:
        return sections[tag]  # type: ignore[index]
    fitting = _fitting(sections, config_values)
    raise ConfigError(
        key,
        f"`{key}` must be one of {', '.join(fitting)}, but is {tag!r} instead"
        f"{nearest_hint(str(tag), fitting) or '; a custom one needs its plugin (`--plugin`)'}.{broken_plugins_hint()}",
    )


def _fitting(sections: Mapping[str, type], config_values: object) -> list[str]:
    """Return the tags of the parts that fit the kind of data in nested dicts; all tags if that is not known."""
    data = config_values.get("data") if isinstance(config_values, Mapping) else None
    kind = data.get("kind") if isinstance(data, Mapping) else None
    fitting = [name for name, section in sections.items() if issubclass(section, Part) and section.fits_data(str(kind))]
    return fitting if kind and fitting else list(sections)


def unknown_key_error(config_type: type, values: object, key: str) -> ConfigError:
    """Build the error for an unknown key: names the families that have it, or the known key nearest in spelling."""
    if (missing := _missing_section(config_type, values, key)) is not None:
        return ConfigError(key, missing)
    fields = list(list_fields(config_type, values))
    tags = sorted({field.family for field in fields if field.key == key})
    if tags:
        section = key.rpartition(".")[0]
        choice = next(f for f in fields if f.is_chosen and not f.family and f.key.rpartition(".")[0] == section)
        others = " and ".join(f"`{tag}`" for tag in tags) + (" has it." if len(tags) == 1 else " have it.")
        return ConfigError(key, f"There is no `{key}` with `{choice.key}: {choice.default}`; {others}")
    if any(field.key.startswith(f"{key}.") for field in fields):
        return ConfigError(key, f"`{key}` is a section, not a value: name one of its fields.")
    nearest = nearest_key(key, [field.key for field in fields if field.is_chosen])
    return ConfigError(key, f"There is no `{key}`{f'; the nearest is `{nearest}`' if nearest else ''}.")


def _missing_section(config_type: type, values: object, key: str) -> str | None:
    """Describe the section of a key that the chosen family lacks, but others have; None if it exists or none has it."""
    annotation: Any = config_type
    prefix = ""
    for part in key.split(".")[:-1]:
        classes, section = families(annotation), values if isinstance(values, Mapping) else {}
        tag = tag_name(classes)
        if not classes or (tag and section.get(tag) not in classes):
            return None
        fields = fields_of(classes[section.get(tag, "")])
        if part not in fields:
            owners = [name for name, config_class in classes.items() if part in fields_of(config_class)]
            listed = " and ".join(f"`{name}`" for name in owners) + (" has it" if len(owners) == 1 else " have it")
            missing = f"There is no `{prefix}{part}` with `{prefix}{tag}: {section.get(tag)}`; {listed}."
            return missing if owners else None
        if not families(fields[part].annotation):
            return None
        values = section.get(part) or default_section(fields[part])
        annotation, prefix = fields[part].annotation, f"{prefix}{part}."
    return None


def describe_validation_error(error: ValidationError, config_type: type, values: object) -> tuple[str, str]:
    """Return the dotted key and a one-line message of the first error that pydantic reports."""
    first, *other_errors = error.errors(include_url=False)
    key = _dotted_key(first["loc"], config_type, values)
    message = describe_invalid_value(key, first)
    if other_errors:
        message += (
            f" ({len(other_errors)} more of the config's values {'is' if len(other_errors) == 1 else 'are'} invalid.)"
        )
    return key, message


def _dotted_key(location: tuple[int | str, ...], config_type: type, values: object) -> str:
    """Convert a location in pydantic's report to a dotted key."""
    key, annotation = "", config_type
    for part in location:
        sections = families(annotation)
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            key += f".{part}" if key else part
            section = values if isinstance(values, Mapping) else {}
            fields = fields_of(chosen_section(sections, section, "")) if sections else {}
            annotation = fields[part].annotation if part in fields else None  # type: ignore[assignment]
            values = section.get(part)
    return key


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read the values of a YAML config.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a YAML mapping; names the file and the line.
    """
    path = Path(path)
    try:
        return parse_config(read_regular(path, MAX_DOCUMENT_BYTES).decode("utf-8"), str(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}).") from None


def parse_config(text: str, path: str) -> dict[str, Any]:
    """Parse the text of a YAML config; raises ValueError, naming the path and the line, if it is not a mapping."""
    values = parse_yaml(text, path)
    if not isinstance(values, dict):
        raise ValueError(
            f"{path}: must contain keys and values, such as `seed: 1`, but contains {reprlib.repr(values)}."
        )
    return values
