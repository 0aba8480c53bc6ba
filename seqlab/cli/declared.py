"""Parsers of commands that are declared as data (`seqlab.commands.Command`)."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import cleandoc, get_annotations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from seqlab.base.world import require_single_process
from seqlab.cli.parser import Parser
from seqlab.commands import AsArgument, AsOption, Command, UsageError
from seqlab.registry import Parts

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

METAVARS = {int: "N", float: "X", bool: "true | false"}
"""Type of an option -> placeholder of its value in the help."""


@dataclass(frozen=True)
class DeclaredCommand:
    """Adapter that gives a declared command the interface of a command module: `make_parser` and `run`."""

    name: str
    command: Command

    @property
    def fields(self) -> "dict[str, FieldInfo]":
        """The fields of the options dataclass that are options."""
        from seqlab.runs.fields import fields_of

        return {name: field for name, field in fields_of(self.command.options).items() if field.init is not False}

    @property
    def positionals(self) -> list[str]:
        """Names of the fields that are positional arguments."""
        marks = {name: unwrap(field.annotation, field.metadata)[2] for name, field in self.fields.items()}
        required = [name for name, field in self.fields.items() if field.is_required() and AsOption not in marks[name]]
        return [*required, *(name for name in self.fields if AsArgument in marks[name])]

    def make_parser(self, arguments: Sequence[str] = ()) -> Parser:
        """Build the parser with an argument for each field; the fields of each base class are under a heading.

        If `arguments` contain `--help` and a run, the help omits options that the model of the run does not support.
        """
        from seqlab.runs.fields import field_docstring

        options = self.command.options
        parser = Parser(f"seqlab {self.name}", cleandoc(options.__doc__ or ""))
        unsupported = self._unsupported(arguments) if {"-h", "--help"} & {*arguments} else set()
        groups: dict[type, argparse._ActionsContainer] = {options: parser}
        for name, field in self.fields.items():
            owner = next(base for base in reversed(options.__mro__) if name in get_annotations(base))
            if owner not in groups:
                groups[owner] = parser.add_argument_group(cleandoc(owner.__doc__ or "").partition("\n")[0].rstrip("."))
            if f"--{name}" in parser.option_names:
                raise ValueError(
                    f"The command `{self.name}` has the option `{name}`, which all commands have: rename it."
                )
            is_positional = name in self.positionals
            group = parser if is_positional else groups[owner]
            text = argparse.SUPPRESS if name in unsupported else field_docstring(options, name)
            add_argument(group, name, field, text, is_positional=is_positional)
        return parser

    def _unsupported(self, arguments: Sequence[str]) -> set[str]:
        """Return the options of a search command that no model of the runs among the arguments supports."""
        from seqlab.search.config import SearchConfig

        paths = [Path(argument) for argument in arguments if not argument.startswith("-")]
        paths = [path for path in paths if (path / "config.yaml").is_file()]
        if not paths or not issubclass(self.command.options, SearchConfig):
            return set()
        from seqlab.runs.folder import RunFolder
        from seqlab.runs.load import read_config

        models = [read_config(RunFolder(path)).model for path in paths]
        unsupported = set.intersection(*(SearchConfig.unsupported_fields(model.check_search) for model in models))
        if all(model.outputs == "frames" for model in models):
            unsupported.add("alignment")  # its tokens have frames, not source positions
        return unsupported

    def run(self, arguments: argparse.Namespace) -> int:
        """Validate the options and run the command; raise UsageError if an option has an invalid value."""
        from seqlab.runs.validate import ConfigError, build

        if self.command.single_process:
            require_single_process(self.name)
        parsed = {name: getattr(arguments, name) for name in self.fields}
        values = {name: value for name, value in parsed.items() if value is not None and value is not False}
        try:
            options: Any = build(self.command.options, values)
        except ConfigError as error:
            match = re.match(r"`(\w+)", str(error))  # the message begins with the field
            is_option = match is not None and match[1] in self.fields and match[1] not in self.positionals
            raise UsageError(f"`--{str(error)[1:]}" if is_option else str(error)) from None
        status = self.command.run(options)
        if not isinstance(status, int | None):
            raise ValueError(f"The command `{self.name}` must return an exit status or None, but returned {status!r}.")
        return status or 0


def add_argument(
    group: "argparse._ActionsContainer", name: str, field: "FieldInfo", text: str, *, is_positional: bool = False
) -> None:
    """Add the argument of a field, by its type, annotations and default."""
    if text == argparse.SUPPRESS:
        group.add_argument(f"--{name}", action="append", help=text)  # not in the help
        return
    plain, is_list, marks = unwrap(field.annotation, field.metadata)
    metavar = metavar_of(plain, marks)
    default, is_required = field.get_default(call_default_factory=True), field.is_required()
    if plain is bool and default is False and metavar is None:
        group.add_argument(f"--{name}", action="store_true", help=escape_percent(text))
        return
    text += "".join(f": {', '.join(mark)}" for mark in marks if isinstance(mark, Parts))
    if not is_required and default not in (None, ()) and "(default" not in text:
        text += f" (default: {' '.join(map(str, default)) if is_list else default})"
    settings: dict[str, Any] = {"help": escape_percent(text), "nargs": "+" if is_list else None}
    if is_positional:
        if not is_required:
            settings["nargs"] = "*" if is_list else "?"
        group.add_argument(name, metavar=metavar or name.upper(), **settings)
    else:
        group.add_argument(
            f"--{name}", metavar=metavar or METAVARS.get(plain, "VALUE"), required=is_required, **settings
        )


def metavar_of(plain: Any, marks: Sequence[Any]) -> str | None:
    """Return the placeholder of a value: a text annotation, or the literals of its type."""
    literals = " | ".join(map(str, get_args(plain)))
    return next((mark for mark in reversed(marks) if isinstance(mark, str)), literals or None)


def escape_percent(text: str) -> str:
    """Escape percent signs, which argparse would interpolate."""
    return text.replace("%", "%%")


def unwrap(annotation: Any, marks: Sequence[Any]) -> tuple[Any, bool, list[Any]]:
    """Return the innermost type, whether a list or tuple contains it, and all annotations, the outermost last."""
    all_marks, is_list = list(marks), False
    while get_origin(annotation) not in (None, Literal):
        all_marks = [*getattr(annotation, "__metadata__", ()), *all_marks]
        is_list |= get_origin(annotation) in (list, tuple)
        annotation = get_args(annotation)[0]
    return annotation, is_list, all_marks
