"""Bounds of numbers in configs and options: each number has a lower and an upper bound."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from seqlab.commands import Command
from seqlab.registry import PART_KINDS, Parts, find_part, list_entries
from seqlab.runs.config import Config
from seqlab.runs.fields import families, fields_of

LOWER, UPPER = ("ge", "gt"), ("le", "lt")


def nested_sections(section: type) -> Iterator[type]:
    """Yield a config section and its nested sections, for all families."""
    yield section
    for field in fields_of(section).values():
        for inner in families(field.annotation).values():
            yield from nested_sections(inner)


def all_sections() -> list[type]:
    """Return the sections of a config, and the options of each command."""
    sections = set(nested_sections(Config))
    for kind in PART_KINDS:
        sections |= {part for part in Parts(kind).values() if hasattr(part, "__pydantic_fields__")}
    commands = (find_part("command", entry.name) for entry in list_entries("command"))
    sections |= {command.options for command in commands if isinstance(command, Command)}
    return sorted(sections, key=lambda each: f"{each.__module__}.{each.__qualname__}")


def number_metadata(annotation: Any, metadata: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the metadata of each number in a type, including numbers in lists, tuples and unions."""
    if hasattr(annotation, "__metadata__"):
        yield from number_metadata(annotation.__origin__, [*metadata, *annotation.__metadata__])
    elif annotation in (int, float):
        yield [inner for each in metadata for inner in (each, *getattr(each, "metadata", ()))]
    elif get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            yield from number_metadata(inner, metadata)


def missing_bounds(section: type) -> Iterator[str]:
    """Yield the fields of a section with a number that lacks a lower or an upper bound."""
    for name, field in fields_of(section).items():
        if field.init is False:
            continue
        for metadata in number_metadata(field.annotation, field.metadata):
            for bounds in (LOWER, UPPER):
                if all(getattr(item, bound, None) is None for item in metadata for bound in bounds):
                    yield f"{section.__qualname__}.{name}: {' or '.join(bounds)}"


def test_numbers_have_lower_and_upper_bounds() -> None:
    sections = all_sections()
    assert Config in sections
    assert [missing for section in sections for missing in missing_bounds(section)] == []
