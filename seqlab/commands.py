"""Declarations of commands by tasks and plugins, from which `seqlab.cli.declared` builds the parsers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INCOMPLETE = 3
"""Exit status of a command that skipped some of its inputs, and reported which."""


class UsageError(ValueError):
    """Invalid command-line arguments, or options that contradict each other."""


class AsOption:
    """Marker in an `Annotated` type: a field without a default is a required option, `--name VALUE`."""


class AsArgument:
    """Marker in an `Annotated` type: a field with a default is an optional positional argument."""


@dataclass(frozen=True)
class Command:
    """A command, `seqlab NAME ...`, which is registered under its name as a part of the kind `command`.

    The options are a frozen pydantic dataclass, whose docstring is the help of the command. A field without a default
    is a positional argument, any other field is an option (see also `AsOption`, `AsArgument`). The field's docstring
    is its help. A list takes several values, and a boolean with the default `False` is a flag. In an `Annotated` type,
    a string is the metavariable of the value in the help (`FILE`), with which a boolean takes `true` or `false` instead
    of being a flag; `seqlab.registry.Parts` lists the parts of a kind in the help. Inherited fields are grouped under
    the first line of the docstring of the class that declares them.
    """

    options: type
    """Dataclass of the options and positional arguments."""
    run: Callable[[Any], int | None]
    """Runs the command with its options, and returns the exit status; None is 0."""
    single_process: bool = False
    """Whether the command refuses to run under torchrun, because it cannot divide its work among ranks."""
