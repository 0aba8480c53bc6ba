"""`--section.field value ...` on the command line."""

import re
from collections.abc import Sequence

_DOTTED = re.compile(r"--(\w+(?:\.\w+)+)(?:=(.*))?", re.DOTALL)
_OPTION = re.compile(r"-{1,2}[A-Za-z]")


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Take the options with a dot in their name out of a command line, each with all values up to the next option."""
    rest: list[str] = []
    overrides: list[tuple[str, list[str]]] = []
    current = rest
    for argument in arguments:
        if match := _DOTTED.fullmatch(argument):
            current = []
            overrides.append((match[1], current))
            if match[2] is not None:  # --key=value takes nothing more
                current.append(match[2])
                current = rest
            continue
        if _OPTION.match(argument):
            current = rest
        current.append(argument)
    return rest, overrides
