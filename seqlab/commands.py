"""Commands declared as data, by tasks and plugins: the command line makes the parser (`seqlab.cli.declared`)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class UsageError(ValueError):
    """A command line that cannot be understood, or whose options do not fit each other."""


class As(Enum):
    """How a field of a command's options is given, where that does not follow from its default."""

    ARGUMENT = "positional argument"
    """By its position, although it has a default and may be left out."""
    OPTION = "option"
    """By its name, although it has no default and must be given."""


@dataclass(frozen=True)
class Command:
    """What `seqlab NAME ...` does; registered as a `command` under its name.

    The options are a frozen pydantic dataclass. Its docstring is the help of the command. A field without a default is
    a positional argument, any other an option with the field's docstring; `As` in an `Annotated` type says otherwise. A
    list takes several values, and `False` is a flag. A string in an `Annotated` type names the value in the help
    (`FILE`); a boolean with such a name is no flag, but takes `true` or `false`; the parts of a kind
    (`seqlab.registry.Parts`) are listed. Inherited fields have a heading of their own: the first line of the docstring
    of the class that declares them.
    """

    options: type
    """What can be given."""
    run: Callable[[Any], int | None]
    """Called with the options; returns the exit status, None for 0."""
