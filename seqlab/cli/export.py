"""seqlab export: export a run to another engine, and verify that its outputs there are the same.

The output is the path. `seqlab export --format NAME --help` lists the options of a format.
"""

import argparse
from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

from seqlab.cli.declared import add_argument
from seqlab.cli.parser import Parser
from seqlab.commands import UsageError
from seqlab.registry import Parts, find_part, list_entries

FORMAT_OPTION = "--format"


class ExportParser(Parser):
    """Parser with the options of the chosen export format; other formats are not imported."""

    def __init__(self) -> None:
        """Add the options that all formats share."""
        listed = "\n".join(f"  {entry.name:<15}{entry.summary}" for entry in list_entries("exporter"))
        super().__init__("seqlab export", f"{__doc__}\nformats:\n{listed}")
        self.add_argument("run_dir", metavar="RUN", help="run folder")
        self.add_argument(FORMAT_OPTION, required=True, metavar="NAME", help="one of the formats above")
        self.add_argument("--out", metavar="PATH", help="path of the export (default: in RUN/export)")
        self.add_argument("--checkpoint", default="best", metavar="NAME", help="best (default), last or a step")
        self.add_argument("--overwrite", action="store_true", help="replace an existing export")
        self.shared = {action.dest for action in self._actions}

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments; raise UsageError, or ValueError if the format cannot be imported or used."""
        name = _find_format(arguments)
        if name is not None and name not in Parts("exporter"):
            raise UsageError(
                f"`{FORMAT_OPTION}` must be one of {', '.join(Parts('exporter'))}, but is `{name}` instead"
            )
        if name is not None:
            self.prog += f" {FORMAT_OPTION} {name}"  # for messages: each format has other options
            self._add_options(name)
        return super().parse(arguments)

    def _add_options(self, name: str) -> None:
        from seqlab.runs.fields import field_docstring, fields_of

        config = find_part("exporter", name)
        group = self.add_argument_group(f"{name}: {' '.join(cleandoc(config.__doc__ or '').split())}")
        for option in options_of(config):
            if option in self.shared:
                raise ValueError(f"The exporter {name!r} has the option `{option}`, which all formats have: rename it.")
            add_argument(group, option, fields_of(config)[option], field_docstring(config, option))


def _find_format(arguments: Sequence[str]) -> str | None:
    """Return the given format, before its options are added to the parser; None if it is missing."""
    format_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    format_parser.add_argument(FORMAT_OPTION)
    try:
        name: str | None = format_parser.parse_known_args(arguments)[0].format
    except argparse.ArgumentError:
        return None  # the parser of the command reports the error
    return name


def options_of(config: type) -> list[str]:
    """Return the option fields of a format, without its tag."""
    from seqlab.runs.fields import fields_of

    tag_field: str = config.tag_field  # type: ignore[attr-defined]
    return [name for name in fields_of(config) if name != tag_field]


def make_parser() -> Parser:
    """Make the parser."""
    return ExportParser()


def run(arguments: argparse.Namespace) -> int:
    """Export the run and print the path."""
    from seqlab.runs.validate import build

    exporter_class = find_part("exporter", arguments.format)
    values: dict[str, Any] = {name: getattr(arguments, name) for name in options_of(exporter_class)}
    exporter = build(exporter_class, {name: value for name, value in values.items() if value not in (None, False)})
    out = None if arguments.out is None else Path(arguments.out)
    written = exporter.export(Path(arguments.run_dir), out, arguments.checkpoint, arguments.overwrite)
    if not isinstance(written, str | Path):
        raise ValueError(f"The exporter `{arguments.format}` must return the path, but returned {written!r}.")
    print(written)
    return 0
