"""Parsers of commands that are declared as data (`seqlab.commands.Command`)."""

import argparse
from dataclasses import dataclass
from typing import Any, get_origin

from seqlab.cli.parser import Parser
from seqlab.commands import Command


@dataclass(frozen=True)
class DeclaredCommand:
    """A declared command with the interface of a command's module: `make_parser` and `run`."""

    name: str
    command: Command

    def make_parser(self) -> Parser:
        """Add an argument for each field of the options."""
        parser = Parser(f"seqlab {self.name}", self.command.options.__doc__)
        for name, field in self.command.options.__pydantic_fields__.items():  # type: ignore[attr-defined]
            text = " ".join((field.description or "").split()).replace("%", "%%")
            several: dict[str, Any] = {"nargs": "+"} if get_origin(field.annotation) is list else {}
            if field.is_required():
                parser.add_argument(name, metavar=name.upper(), help=text, **several)
            elif field.default is False:
                parser.add_argument(f"--{name}", action="store_true", help=text)
            else:
                shown = field.get_default(call_default_factory=True)
                text += f" (default: {'none' if shown is None else shown})"
                parser.add_argument(f"--{name}", metavar="VALUE", help=text, **several)
        return parser

    def run(self, arguments: argparse.Namespace) -> int:
        """Check the options and run the command; raises ValueError naming an option whose value cannot be."""
        from seqlab.runs.validate import build

        fields = self.command.options.__pydantic_fields__  # type: ignore[attr-defined]
        given = {name: getattr(arguments, name) for name in fields}
        values = {name: value for name, value in given.items() if value is not None and value is not False}
        return self.command.run(build(self.command.options, values)) or 0
