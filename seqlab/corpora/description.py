"""Say what a corpus is: where it comes from, under which licence, and what exactly its files contain."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TextFile:
    """One text file, one example a line."""

    names: tuple[str, ...]
    """the names that this file goes by, the preferred one first; `.gz` may follow each"""
    sha256: str | None = None
    """of the decompressed text, since two compressions of one text differ; None where nobody has noted it: such a file
    is taken as it is"""


@dataclass(frozen=True)
class Split:
    """One part of a corpus: a file for each column."""

    num_lines: int | Mapping[str, int]
    """of parallel files, which are equally long; by column where each is a corpus of its own"""
    files: Mapping[str, TextFile]
    """column -> file"""
    hub: Mapping[str, str] = field(default_factory=dict)
    """column -> path spec of the dataset of the same lines that `datasets` downloads, where there is one"""


@dataclass(frozen=True)
class Corpus:
    """A corpus as its folder describes it."""

    name: str
    summary: str
    source: str
    """where to get it, or what generates it"""
    licence: str
    columns: Mapping[str, str]
    """column -> what it holds"""
    splits: Mapping[str, Split]
    version: int = 1
    """raised with each change of what its generator writes, where it has one"""
