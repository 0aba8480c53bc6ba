"""Commands declared as data, by tasks and plugins: the command line makes the parser (`seqlab.cli.declared`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """What `seqlab NAME ...` does; registered as a `command` under its name."""

    options: type
    """A frozen pydantic dataclass. Its docstring is the help of the command. A field without a default is a positional
    argument, any other an option with the field's docstring; a list takes several values, and `False` is a flag."""
    run: Callable[[Any], int | None]
    """Called with the options; returns the exit status, None for 0."""
