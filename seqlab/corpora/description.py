"""Descriptions of corpora (source, license, files, checksums), and functions that locate their files."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CorpusFiles = dict[str, dict[str, Path]]
"""Split -> column -> file."""

DATA_VARIABLE = "SEQLAB_DATA"
"""Environment variable that names the folder with a subfolder for each corpus."""
MAX_NAMED_FILES = 3
"""Maximum number of files in the message about a missing corpus."""


@dataclass(frozen=True)
class TextFile:
    """A text file with one example per line."""

    names: tuple[str, ...]
    """Possible names of the file, the preferred one first; each can have the suffix `.gz`."""
    sha256: str | None = None
    """SHA-256 of the content before compression, as compressed files of one text can differ; None for no test."""


@dataclass(frozen=True)
class Split:
    """A split of a corpus, with a file for each column."""

    num_lines: int | Mapping[str, int]
    """Number of lines of each of the parallel files; or column -> number of lines, if the columns are not parallel."""
    files: Mapping[str, TextFile]
    """Column -> file."""
    hub: Mapping[str, str] = field(default_factory=dict)
    """Column -> path spec of a Hugging Face dataset with the same lines, if there is one."""


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


def locate_files(corpus: CorpusDescription, folder: str | Path | None = None) -> CorpusFiles:
    """Return the files of a corpus by split and column after a checksum test, from `folder` or `$SEQLAB_DATA/NAME`."""
    if folder is None:
        folder = _data_folder(corpus)
        if folder is None:
            raise FileNotFoundError(
                f"The corpus {corpus.name!r} is expected in $SEQLAB_DATA/{corpus.name}, but SEQLAB_DATA is not set. "
                + _instructions(corpus)
            )
    return {
        split_name: {column: _find_file(corpus, Path(folder), file) for column, file in split.files.items()}
        for split_name, split in corpus.splits.items()
    }


def path_specs_of(corpus: CorpusDescription) -> dict[str, dict[str, str]]:
    """Return path specs by split and column: the files, or the Hugging Face dataset if their folder does not exist.

    Raises:
        FileNotFoundError, ValueError: as in `locate_files`, but a missing folder is not an error if there is a dataset.
    """
    folder = _data_folder(corpus)
    if (folder is None or not folder.exists()) and all(split.hub for split in corpus.splits.values()):
        return {name: dict(split.hub) for name, split in corpus.splits.items()}
    return {
        split: {column: str(path) for column, path in files.items()} for split, files in locate_files(corpus).items()
    }


def _data_folder(corpus: CorpusDescription) -> Path | None:
    data_folder = os.environ.get(DATA_VARIABLE)
    return Path(data_folder) / corpus.name if data_folder else None


def _find_file(corpus: CorpusDescription, folder: Path, file: TextFile) -> Path:
    """Return the path of a file after a checksum test; of its possible names, the first that exists is used."""
    for path in (folder / (name + ending) for name in file.names for ending in (".gz", "")):
        if path.is_file():
            found = None if file.sha256 is None else sha256_of_text(path)
            if found != file.sha256:
                raise ValueError(
                    f"{path} differs from the file of the corpus {corpus.name}: the SHA-256 of its text is "
                    f"{found}, but must be {file.sha256}. " + _instructions(corpus)
                )
            return path
    raise FileNotFoundError(
        f"{folder} has no {' or '.join(file.names)} (or the same with .gz). " + _instructions(corpus)
    )


def _instructions(corpus: CorpusDescription) -> str:
    """Describe how to get the files of a corpus, for error messages."""
    names = sorted(file.names[0] for split in corpus.splits.values() for file in split.files.values())
    shown = ", ".join(names[:MAX_NAMED_FILES])
    shown += f" and {len(names) - MAX_NAMED_FILES} more files" if len(names) > MAX_NAMED_FILES else ""
    return (
        f"Get it from {corpus.source} ({corpus.license}), put {shown} (plain or .gz) into a folder "
        f"DIR/{corpus.name} and set SEQLAB_DATA=DIR."
    )


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
