"""seqlab export: write a run for another engine, and check that it computes the same there.

The path is the only output. The formats:
"""

import argparse
from inspect import cleandoc
from pathlib import Path

from seqlab.cli.declared import add_argument
from seqlab.cli.parser import Parser
from seqlab.commands import UsageError
from seqlab.registry import Parts


def make_parser() -> Parser:
    """Name the run, the format, what to write, and the options of each format."""
    from seqlab.runs.fields import fields_of, text_of

    formats = Parts("exporter")
    listed = "".join(f"\n{name}: {cleandoc(each.__doc__ or '')}\n" for name, each in formats.items())
    parser = Parser("seqlab export", f"{__doc__}{listed}")
    parser.add_argument("run_dir", metavar="RUN", help="run folder")
    parser.add_argument("--format", required=True, metavar="NAME", help=" or ".join(formats))
    parser.add_argument("--out", metavar="PATH", help="what to write (default: in RUN/export)")
    parser.add_argument("--checkpoint", default="best", metavar="NAME", help="best (default), last or a step")
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    for format_name, config in formats.items():
        group = parser.add_argument_group(f"options of {format_name}")
        for name in _options_of(config):
            add_argument(group, name, fields_of(config)[name], text_of(config, name))
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the path."""
    from seqlab.runs.validate import build

    formats = Parts("exporter")
    if arguments.format not in formats:
        raise UsageError(f"`--format` must be one of {', '.join(formats)}, but is `{arguments.format}` instead")
    chosen = formats[arguments.format]
    given = {
        name: value
        for config in formats.values()
        for name in _options_of(config)
        if (value := getattr(arguments, name)) not in (None, False)
    }
    for name in given:
        if name not in _options_of(chosen):
            owner = next(format_name for format_name, config in formats.items() if name in _options_of(config))
            raise UsageError(f"`--{name}` is for `--format {owner}`: leave it out")
    out = None if arguments.out is None else Path(arguments.out)
    print(build(chosen, given).export(Path(arguments.run_dir), out, arguments.checkpoint, arguments.overwrite))
    return 0


def _options_of(config: type) -> list[str]:
    from seqlab.runs.fields import fields_of

    return [name for name in fields_of(config) if name != "format"]
