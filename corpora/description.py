"""Descriptions of corpora (source, license, files, checksums), and functions that locate their files."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CorpusFiles = dict[str, dict[str, Path]]
"""Split -> column -> file."""

DATA_VARIABLE = "SEQLAB_DATA"
"""Environment variable that names the folder with a subfolder for each corpus."""
_ADDRESS = re.compile(r"https?://[^\s,]+|(?:apt-get|pip) install .*")


@dataclass(frozen=True)
class TextFile:
    """A text file with one example per line."""

    names: tuple[str, ...]
    """Possible names of the file, the preferred one first; each can have the suffix `.gz`."""
    sha256: str | None = None
    """SHA-256 of the content before compression, as compressed files of one text can differ; None for no test."""
    size: int | None = None
    """Bytes before compression, if known."""
    address: str | None = None
    """URL of the file, if it can be downloaded as it is."""
    encoding: str = "utf-8"
    """Encoding of the file at `address`, which is stored as UTF-8."""


@dataclass(frozen=True)
class Split:
    """A split of a corpus, with a file for each column."""

    num_lines: int | Mapping[str, int]
    """Number of lines of each of the files; or column -> number of lines, if they differ."""
    files: Mapping[str, TextFile]
    """Column -> file."""
    hub: Mapping[str, str] = field(default_factory=dict)
    """Column -> path spec of a Hugging Face dataset with the same lines, if there is one."""

    def count(self, column: str) -> int:
        """Return the number of lines of a column."""
        return self.num_lines if isinstance(self.num_lines, int) else self.num_lines[column]


@dataclass(frozen=True)
class CorpusDescription:
    """Description of a corpus: its source, license, columns and files."""

    name: str
    summary: str
    source: str
    """Address or package of the corpus, or the command that generates it."""
    license: str
    columns: Mapping[str, str]
    """Column -> description of its content."""
    splits: Mapping[str, Split]
    version: int = 1
    """Version of the generator's output, if the corpus has a generator."""
    kind: str = "text"
    """Parallel text, text, labels, words, recordings, table."""
    size: str = ""
    """Size of the files, `1.1 MB`; "about" if they are not described byte by byte."""
    generator: str | None = None
    """Function of the corpus's module that writes its files to a folder, if seqlab generates them."""
    sample: str | None = None
    """Function of the corpus's module that writes a sample to a folder, if the sample is not in the folder `sample`."""
    recordings: tuple[str, ...] = ()
    """Names of audio files that the corpus consists of, without a list."""


def locate_files(corpus: CorpusDescription, folder: str | Path | None = None) -> CorpusFiles:
    """Return the files of a corpus by split and column after a checksum test, from `folder` or `$SEQLAB_DATA/NAME`."""
    if folder is None:
        folder = data_folder(corpus)
        if folder is None:
            raise FileNotFoundError(f"$SEQLAB_DATA/{corpus.name}: SEQLAB_DATA is not set. {instructions(corpus)}")
    return {
        split_name: {column: find_file(corpus, Path(folder), file) for column, file in split.files.items()}
        for split_name, split in corpus.splits.items()
    }


def path_specs_of(corpus: CorpusDescription) -> dict[str, dict[str, str]]:
    """Return path specs by split and column: the files, or the Hugging Face dataset if their folder does not exist.

    Raises:
        FileNotFoundError, ValueError: as in `locate_files`, but a missing folder is not an error if there is a dataset.
    """
    folder = data_folder(corpus)
    if (folder is None or not folder.exists()) and all(split.hub for split in corpus.splits.values()):
        return {name: dict(split.hub) for name, split in corpus.splits.items()}
    return {
        split: {column: str(path) for column, path in files.items()} for split, files in locate_files(corpus).items()
    }


def find_file(corpus: CorpusDescription, folder: Path, file: TextFile) -> Path:
    """Return the path of a file after a checksum test; of its possible names, the first that exists is used."""
    for path in (folder / (name + ending) for name in file.names for ending in (".gz", "")):
        if path.is_file():
            checksum = None if file.sha256 is None else sha256_of_text(path)
            if checksum != file.sha256:
                raise ValueError(
                    f"{path} differs from the file of the corpus {corpus.name}: the SHA-256 of its text is "
                    f"{checksum}, but must be {file.sha256}. " + instructions(corpus)
                )
            return path
    raise FileNotFoundError(f"{folder} has no {' or '.join(file.names)} (or with .gz). " + instructions(corpus))


def instructions(corpus: CorpusDescription) -> str:
    """Say in one short sentence how to get the files of a corpus; its card has the rest."""
    if corpus.generator is not None:
        return f"Generate it with `seqlab corpora {corpus.name} --get`."
    address = _ADDRESS.search(corpus.source)
    source = corpus.source.partition(", ")[0] if address is None else address[0]
    get = " --get` gets it" if is_automatic(corpus) else "` tells how to get it"
    license_name = re.split("[,:;]", corpus.license)[0]
    return f"`seqlab corpora {corpus.name}{get}: {source} ({license_name}); set SEQLAB_DATA=DIR."


def is_automatic(corpus: CorpusDescription) -> bool:
    """Return whether a corpus can be generated, downloaded, or read through `datasets`, without work by hand."""
    files = [file for split in corpus.splits.values() for file in split.files.values()]
    has_addresses = bool(files) and all(file.address for file in files)
    has_hub = bool(files) and all(split.hub for split in corpus.splits.values())
    return corpus.generator is not None or has_addresses or has_hub


def has_checksums(corpus: CorpusDescription) -> bool:
    """Return whether other files, such as those of a sample, cannot be taken for the corpus."""
    files = [file for split in corpus.splits.values() for file in split.files.values()]
    return corpus.generator is not None or all(file.sha256 for file in files)


def is_complete(corpus: CorpusDescription, folder: Path) -> bool:
    """Return whether a folder has all files of a corpus: a fast test of names and sizes, without checksums."""
    files = [file for split in corpus.splits.values() for file in split.files.values()]
    files += [TextFile((name,)) for name in corpus.recordings]
    return bool(files) and all(_has_file(folder, file) for file in files)


def _has_file(folder: Path, file: TextFile) -> bool:
    for name in file.names:
        path = folder / name
        if path.with_name(f"{path.name}.gz").is_file():
            return True
        if path.is_file():
            return file.size in (None, path.stat().st_size)
    return False


def data_folder(corpus: CorpusDescription) -> Path | None:
    """Return `$SEQLAB_DATA/NAME`, or None if the variable is not set."""
    folder = os.environ.get(DATA_VARIABLE)
    return Path(folder) / corpus.name if folder else None


def read_text_file(path: str | Path) -> str:
    """Read a text file, which is decompressed if its name ends in .gz, without conversion of line endings.

    Raises:
        ValueError: the compressed file is damaged.
    """
    path = Path(path)
    return _read_bytes(path).decode("utf-8")


def sha256_of_text(path: str | Path) -> str:
    """Compute the SHA-256 of the content of a file, which is decompressed if its name ends in .gz.

    Raises:
        ValueError: the compressed file is damaged.
    """
    path = Path(path)
    return hashlib.sha256(_read_bytes(path)).hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or not gzip-compressed: {error}. Fetch it again.") from error
