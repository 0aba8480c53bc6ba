"""Commands declared as data, by tasks and plugins: the command line makes the parser (`seqlab.cli.declared`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INCOMPLETE = 3
"""The exit status of a command that has no answer for some of its inputs, and says for which."""


class UsageError(ValueError):
    """A command line that cannot be understood, or whose options do not fit each other."""


class AsOption:
    """In an `Annotated` type: the field has no default, but is an option that must be given, `--name VALUE`."""


class AsArgument:
    """In an `Annotated` type: the field has a default, but is given without its name, after those that have none."""


@dataclass(frozen=True)
class Command:
    """What `seqlab NAME ...` does; registered as a `command` under its name.

    The options are a frozen pydantic dataclass. Its docstring is the help of the command. A field without a default
    is a positional argument (see also `AsOption`, `AsArgument`), any other an option with the field's docstring; a
    list takes several values, and `False` is a flag. A string in an `Annotated` type names the value in the help
    (`FILE`); a boolean with such a name is no flag, but takes `true` or `false`. The parts of a kind there
    (`seqlab.registry.Parts`) are listed.
    Inherited fields have a heading of their own: the first line of the docstring of the class that declares them.
    """

    options: type
    """What can be given."""
    run: Callable[[Any], int | None]
    """Called with the options; returns the exit status, None for 0."""
    in_one_process: bool = False
    """Whether it is refused under torchrun, as processes would not share its work."""
