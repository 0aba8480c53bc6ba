"""Declarations of commands by tasks and plugins, from which `seqlab.cli.declared` builds the parsers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INCOMPLETE = 3
"""Exit status of a command that skipped some of its inputs, and reported which."""

FOUND = 4
"""Exit status of a command with `--fail-on` that has found what the option names."""


class UsageError(ValueError):
    """Invalid command-line arguments, or options that contradict each other."""


class AsOption:
    """Marker in an `Annotated` type: a field without a default is a required option, `--name VALUE`."""


class AsArgument:
    """Marker in an `Annotated` type: a field with a default is an optional positional argument."""


@dataclass(frozen=True)
class Command:
    """A command, `seqlab NAME ...`, which is registered under its name as a part of the kind `command`.

    The options are the fields of a frozen pydantic dataclass. The docstring of the dataclass is the help of the
    command, and the docstring of a field is the help of its option.

    - A field without a default is a positional argument, any other field is an option (see also `AsOption`,
      `AsArgument`).
    - A list takes several values. A boolean with the default `False` is a flag.
    - A string in an `Annotated` type is the metavariable of the value in the help (`FILE`). A boolean with a
      metavariable takes `true` or `false` instead of being a flag.
    - `seqlab.registry.Parts` in an `Annotated` type lists the parts of a kind in the help.
    - Inherited fields are grouped under the first line of the docstring of the class that declares them.
    """

    options: type
    """Dataclass of the options and positional arguments."""
    run: Callable[[Any], int | None]
    """Function that runs the command with its options, and returns the exit status; None is 0."""
    single_process: bool = False
    """Whether the command raises an error under torchrun, because it cannot divide its work among ranks."""
