"""seqlab export: write a run for another engine, and check on real lines that it says the same there.

The folder holds what CTranslate2 loads from Python or C++ (model.bin, config.json, vocabularies), the tokenizers, and
seqlab.json, which says where it is from. Its path is the only output; how close the two are is on standard error.
"""

import argparse

from seqlab.cli.parser import Parser, UsageError

SUMMARY = "write a run for another engine"
FORMATS = ("ctranslate2",)


def make_parser() -> Parser:
    """Name the run, the folder and the kind of weights."""
    parser = Parser("seqlab export", __doc__)
    parser.add_argument("run_dir", metavar="RUN", help="run folder")
    parser.add_argument("--format", required=True, metavar="NAME", help="engine to export to: ctranslate2")
    parser.add_argument("--out", metavar="DIR", help="folder to write (default: RUN/export/ctranslate2-QUANTIZATION)")
    parser.add_argument("--checkpoint", default="best", metavar="NAME", help="best (default), last or a step")
    parser.add_argument(
        "--quantization",
        default="float32",
        metavar="NAME",
        help="type of the weights, as CTranslate2 names it: float32 (default), int8, int8_float32, bfloat16, ...",
    )
    parser.add_argument(
        "--check", metavar="FILE", help="source lines to check with (default: the validation set in the run's cache)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the folder."""
    from seqlab.export import export_run

    if arguments.format not in FORMATS:
        raise UsageError(f"`--format` must be {FORMATS[0]}, but is `{arguments.format}` instead")
    folder = export_run(
        arguments.run_dir,
        arguments.out,
        checkpoint=arguments.checkpoint,
        quantization=arguments.quantization,
        check=arguments.check,
        overwrite=arguments.overwrite,
    )
    print(folder)
    return 0
