"""seqlab import: make a run of an n-gram model in an ARPA file."""

from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass

from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, File, RunPath


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ImportOptions:
    """seqlab import: make a run of an n-gram model in an ARPA file, as KenLM and SRILM write them.

    The run scores, generates and joins a translator (--lm) like one that was trained here. It reads lines of words
    between spaces, or with --tokenizer the subwords of another run, of which the file is a model then. Its path is the
    only output.
    """

    file: File
    """ARPA file, plain or .gz"""
    run_dir: Annotated[str, "DIR"] | None = None
    """run folder to make (default: runs/FILE, without its endings)"""
    tokenizer: RunPath | None = None
    """run whose tokens the file names (default: words)"""
    overwrite: bool = False
    """replace a run that is there"""


def run(options: ImportOptions) -> None:
    """Import, and print the folder."""
    from seqlab.export import import_arpa

    name = Path(options.file).name.removesuffix(".gz").removesuffix(".arpa")
    folder = options.run_dir or Path("runs") / name
    print(import_arpa(options.file, folder, tokenizer_of=options.tokenizer, overwrite=options.overwrite))


IMPORT = Command(ImportOptions, run)
