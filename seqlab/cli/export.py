"""seqlab export: write a run for another engine, and check that it says the same there.

--format ctranslate2: a folder with what CTranslate2 loads from Python or C++ (model.bin, config.json, vocabularies),
the tokenizers, and seqlab.json, which says where it is from; checked on real lines, how close the two are is on
standard error. --format arpa: an n-gram model as a file for KenLM, SRILM and others. The path is the only output.
"""

import argparse

from seqlab.cli.parser import Parser, UsageError

FORMATS = ("ctranslate2", "arpa")


def make_parser() -> Parser:
    """Name the run, the folder and the kind of weights."""
    parser = Parser("seqlab export", __doc__)
    parser.add_argument("run_dir", metavar="RUN", help="run folder")
    parser.add_argument("--format", required=True, metavar="NAME", help="ctranslate2 or arpa")
    parser.add_argument("--out", metavar="PATH", help="what to write (default: in RUN/export)")
    parser.add_argument("--checkpoint", default="best", metavar="NAME", help="best (default), last or a step")
    parser.add_argument(
        "--quantization",
        metavar="NAME",
        help="type of the weights, as CTranslate2 names it: float32 (default), int8, int8_float32, bfloat16, ...",
    )
    parser.add_argument(
        "--check", metavar="FILE", help="source lines to check with (default: the validation set in the run's cache)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the path."""
    from seqlab.export import export_arpa, export_run

    if arguments.format not in FORMATS:
        raise UsageError(f"`--format` must be one of {', '.join(FORMATS)}, but is `{arguments.format}` instead")
    options = {"checkpoint": arguments.checkpoint, "overwrite": arguments.overwrite}
    if arguments.format == "arpa":
        for name in ("quantization", "check"):
            if getattr(arguments, name) is not None:
                raise UsageError(f"`--{name}` is for `--format ctranslate2`: leave it out")
        print(export_arpa(arguments.run_dir, arguments.out, **options))
        return 0
    quantization = arguments.quantization or "float32"
    print(export_run(arguments.run_dir, arguments.out, quantization=quantization, check=arguments.check, **options))
    return 0
