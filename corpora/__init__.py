"""Describe the corpora that seqlab's recipes know, find their files, and generate those that are our own.

One folder per corpus. A folder holds a description (`CORPUS`: source, licence, columns, splits, checksums) and, where
the data is ours, its generator. Text that others wrote is never part of the package: it is found through the
environment variable `SEQLAB_DATA`.
"""

from pathlib import Path

from .description import Corpus, Split, TextFile
from .location import Splits, locate_files
from .multi30k import CORPUS as MULTI30K
from .number_words import CORPUS as NUMBER_WORDS
from .tinyshakespeare import CORPUS as TINYSHAKESPEARE

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in (MULTI30K, NUMBER_WORDS, TINYSHAKESPEARE)}


def locate(name: str, folder: str | Path | None = None) -> Splits:
    """Return the files of a corpus by split and column, `locate("multi30k")["train"]["en"]`, with checked content.

    They are looked for in `folder`, or else in `$SEQLAB_DATA/NAME`. Files may be plain or gzip-compressed.

    Raises:
        FileNotFoundError: a file is missing; the message says where it comes from and where it has to be.
        ValueError: no corpus has this name, or a file's content is not that of the corpus.
    """
    if name not in CORPORA:
        raise ValueError(f"`name` must be one of {', '.join(sorted(CORPORA))}, but is {name!r} instead.")
    return locate_files(CORPORA[name], folder)


__all__ = ["CORPORA", "Corpus", "Split", "Splits", "TextFile", "locate"]
