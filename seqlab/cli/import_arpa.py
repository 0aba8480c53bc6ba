"""seqlab import: make a run of an n-gram model in an ARPA file, as KenLM and SRILM write them.

The run scores, generates and joins a translator (--lm) like one that was trained here. It reads lines of words between
spaces, or with --tokenizer the subwords of another run, of which the file is a model then. Its path is the only output.
"""

import argparse
from pathlib import Path

from seqlab.cli.parser import Parser


def make_parser() -> Parser:
    """Name the file and the folder."""
    parser = Parser("seqlab import", __doc__)
    parser.add_argument("file", metavar="FILE", help="ARPA file, plain or .gz")
    parser.add_argument("--run_dir", metavar="DIR", help="run folder to make (default: runs/FILE, without its endings)")
    parser.add_argument("--tokenizer", metavar="RUN", help="run whose tokens the file names (default: words)")
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Import, and print the folder."""
    from seqlab.export import import_arpa

    name = Path(arguments.file).name.removesuffix(".gz").removesuffix(".arpa")
    folder = import_arpa(
        arguments.file,
        arguments.run_dir or Path("runs") / name,
        tokenizer_of=arguments.tokenizer,
        overwrite=arguments.overwrite,
    )
    print(folder)
    return 0
