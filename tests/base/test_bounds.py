"""Every number in a config or option has a lower and an upper bound."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

import pytest

from seqlab.commands import Command
from seqlab.registry import PART_KINDS, Parts, find_part, list_entries
from seqlab.runs.config import Config
from seqlab.runs.fields import families, fields_of

LOWER, UPPER = ("ge", "gt"), ("le", "lt")


def sections_of(section: type) -> Iterator[type]:
    """Yield a config section and its nested sections, for all families."""
    yield section
    for field in fields_of(section).values():
        for inner in families(field.annotation).values():
            yield from sections_of(inner)


def all_sections() -> list[type]:
    """Return the sections of a config, and the options of each command."""
    found = set(sections_of(Config))
    for kind in PART_KINDS:
        found |= {each for part in Parts(kind).values() if hasattr(part, "__pydantic_fields__") for each in [part]}
    commands = (find_part("command", entry.name) for entry in list_entries("command"))
    found |= {command.options for command in commands if isinstance(command, Command)}
    return sorted(found, key=lambda each: f"{each.__module__}.{each.__qualname__}")


def numbers_in(annotation: Any, marks: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the annotations of each number in a type, also within lists, tuples and unions."""
    if hasattr(annotation, "__metadata__"):
        yield from numbers_in(annotation.__origin__, [*marks, *annotation.__metadata__])
    elif annotation in (int, float):
        yield [inner for mark in marks for inner in (mark, *getattr(mark, "metadata", ()))]
    elif get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            yield from numbers_in(inner, marks)


@pytest.mark.parametrize("section", all_sections(), ids=lambda each: each.__qualname__)
def test_each_number_has_two_bounds(section: type) -> None:
    for name, field in fields_of(section).items():
        if field.init is False:
            continue
        for marks in numbers_in(field.annotation, field.metadata):
            for bounds in (LOWER, UPPER):
                assert any(getattr(mark, bound, None) is not None for mark in marks for bound in bounds), name
