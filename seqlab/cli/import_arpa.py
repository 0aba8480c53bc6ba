"""Command `seqlab import`: create a run from an n-gram model in an ARPA file."""

from pathlib import Path
from typing import Annotated

from seqlab.base.config_class import dataclass
from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, File, RunPath


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ImportOptions:
    """seqlab import: create a run from an n-gram model in an ARPA file, as KenLM and SRILM write them.

    The run supports scoring, generation and fusion with a translator (--lm) like a trained one. Its tokens are words
    between spaces, or with --tokenizer the subwords of another run. The output is the path of the run.
    """

    file: File
    """ARPA file, plain or .gz"""
    run_dir: Annotated[str, "DIR"] | None = None
    """run folder to create (default: runs/FILE, without its endings)"""
    tokenizer: RunPath | None = None
    """run with the tokens that the ARPA file contains (default: words)"""
    overwrite: bool = False
    """replace an existing run"""


def run(options: ImportOptions) -> None:
    """Import the model and print the run folder."""
    from seqlab.export import import_arpa

    name = Path(options.file).name.removesuffix(".gz").removesuffix(".arpa")
    folder = options.run_dir or Path("runs") / name
    print(import_arpa(options.file, folder, tokenizer_of=options.tokenizer, overwrite=options.overwrite))


IMPORT = Command(ImportOptions, run)
