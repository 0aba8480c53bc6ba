"""Parsers of commands that are declared as data (`seqlab.commands.Command`)."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import cleandoc, get_annotations
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from seqlab.cli.parser import Parser
from seqlab.commands import As, Command, UsageError
from seqlab.registry import Parts

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

METAVARS = {int: "N", float: "X", bool: "true | false"}
"""What stands for values of a type in the help."""


@dataclass(frozen=True)
class DeclaredCommand:
    """A declared command with the interface of a command's module: `make_parser` and `run`."""

    name: str
    command: Command

    @property
    def fields(self) -> "dict[str, FieldInfo]":
        """The fields of the options that can be given."""
        from seqlab.runs.fields import fields_of

        return {name: field for name, field in fields_of(self.command.options).items() if field.init is not False}

    def make_parser(self) -> Parser:
        """Add an argument for each field of the options, those of each base class under a heading."""
        from seqlab.runs.fields import text_of

        options = self.command.options
        parser = Parser(f"seqlab {self.name}", cleandoc(options.__doc__ or ""))
        groups: dict[type, argparse._ActionsContainer] = {options: parser}
        for name, field in self.fields.items():
            owner = next(base for base in reversed(options.__mro__) if name in get_annotations(base))
            if owner not in groups:
                groups[owner] = parser.add_argument_group(first_line(owner).rstrip("."))
            add_argument(groups[owner], name, field, text_of(options, name))
        return parser

    def run(self, arguments: argparse.Namespace) -> int:
        """Check the options and run the command; raises UsageError naming an option whose value cannot be."""
        from seqlab.runs.validate import ConfigError, build

        given = {name: getattr(arguments, name) for name in self.fields}
        values = {name: value for name, value in given.items() if value is not None and value is not False}
        try:
            options: Any = build(self.command.options, values)
        except ConfigError as error:
            raise UsageError(str(error)) from None
        return self.command.run(options) or 0


def first_line(documented: object) -> str:
    """Return the first line of a docstring."""
    return (documented.__doc__ or "").strip().partition("\n")[0]


def add_argument(group: "argparse._ActionsContainer", name: str, field: "FieldInfo", text: str) -> None:
    """Add what a field is given by: its type, its annotations and its default choose how."""
    plain, is_list, marks = unwrapped(field.annotation, field.metadata)
    names = [mark for mark in marks if isinstance(mark, str)]
    metavar = names[-1] if names else " | ".join(get_args(plain)) or METAVARS.get(plain)
    default, is_required = field.get_default(call_default_factory=True), field.is_required()
    is_flag = plain is bool and default is False and not names
    text += "".join(f": {', '.join(mark)}" for mark in marks if isinstance(mark, Parts))
    if not (is_required or is_flag or default in (None, ()) or "(default" in text):
        text += f" (default: {' '.join(map(str, default)) if is_list else default})"
    how: dict[str, Any] = {"help": text.replace("%", "%%")}
    how |= {"nargs": "+"} if is_list else {}
    if is_flag:
        group.add_argument(f"--{name}", action="store_true", **how)
    elif As.ARGUMENT in marks or (is_required and As.OPTION not in marks):
        how |= {} if is_required else {"nargs": "*" if is_list else "?"}
        group.add_argument(name, metavar=metavar or name.upper(), **how)
    else:
        group.add_argument(f"--{name}", metavar=metavar or "VALUE", required=is_required, **how)


def unwrapped(annotation: Any, marks: Sequence[Any]) -> tuple[Any, bool, list[Any]]:
    """Return a type without None, lists and annotations; whether it was a list's; all annotations, outermost last."""
    found, is_list = list(marks), False
    while get_origin(annotation) not in (None, Literal):
        found = [*getattr(annotation, "__metadata__", ()), *found]
        is_list |= get_origin(annotation) in (list, tuple)
        annotation = get_args(annotation)[0]
    return annotation, is_list, found
