"""seqlab export: write a run for another engine, and check that it computes the same there.

The path is the only output. The formats:
"""

import argparse
from dataclasses import fields
from inspect import cleandoc
from pathlib import Path

from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.search_options import add_fields, given_fields
from seqlab.registry import Parts


def make_parser() -> Parser:
    """Name the run, the format, what to write, and the options of each format."""
    formats = Parts("exporter")
    listed = "".join(f"\n{name}: {cleandoc(each.__doc__ or '')}\n" for name, each in formats.items())
    parser = Parser("seqlab export", f"{__doc__}{listed}")
    parser.add_argument("run_dir", metavar="RUN", help="run folder")
    parser.add_argument("--format", required=True, metavar="NAME", help=" or ".join(formats))
    parser.add_argument("--out", metavar="PATH", help="what to write (default: in RUN/export)")
    parser.add_argument("--checkpoint", default="best", metavar="NAME", help="best (default), last or a step")
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    for name, config in formats.items():
        add_fields(parser, f"options of {name}", config, known=("format",))
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the path."""
    from seqlab.runs.validate import build

    formats = Parts("exporter")
    if arguments.format not in formats:
        raise UsageError(f"`--format` must be one of {', '.join(formats)}, but is `{arguments.format}` instead")
    chosen = formats[arguments.format]
    own = {field.name for field in fields(chosen)}
    for name, other in formats.items():
        for option in given_fields(arguments, other):
            if option not in own:
                raise UsageError(f"`--{option}` is for `--format {name}`: leave it out")
    out = None if arguments.out is None else Path(arguments.out)
    exporter = build(chosen, given_fields(arguments, chosen))
    print(exporter.export(Path(arguments.run_dir), out, arguments.checkpoint, arguments.overwrite))
    return 0
