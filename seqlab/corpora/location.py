"""Find the files of a corpus on this machine and check that they are what the description says."""

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from seqlab.corpora.description import Corpus, TextFile

Splits = dict[str, dict[str, Path]]
"""split -> column -> file"""

DATA_VARIABLE = "SEQLAB_DATA"


def locate_files(corpus: Corpus, folder: str | Path | None = None) -> Splits:
    """Return the checked files of `corpus` by split and column, from `folder` or else from `$SEQLAB_DATA/NAME`."""
    if folder is None:
        folder = _folder(corpus)
        if folder is None:
            raise FileNotFoundError(
                f"The corpus {corpus.name!r} is looked for in $SEQLAB_DATA/{corpus.name}, but SEQLAB_DATA is not set. "
                + _how_to_get(corpus)
            )
    return {
        split_name: {column: _find(corpus, Path(folder), file) for column, file in split.files.items()}
        for split_name, split in corpus.splits.items()
    }


def specs_of(corpus: Corpus) -> dict[str, dict[str, str]]:
    """Return path specs by split and column: the checked files, or the hub's names where there is no folder of files.

    Raises FileNotFoundError where there is neither, and for a folder as `locate_files` does.
    """
    folder = _folder(corpus)
    if (folder is None or not folder.exists()) and all(split.hub for split in corpus.splits.values()):
        return {name: dict(split.hub) for name, split in corpus.splits.items()}
    return {
        split: {column: str(path) for column, path in files.items()} for split, files in locate_files(corpus).items()
    }


def _folder(corpus: Corpus) -> Path | None:
    data_folder = os.environ.get(DATA_VARIABLE)
    return Path(data_folder) / corpus.name if data_folder else None


def _find(corpus: Corpus, folder: Path, file: TextFile) -> Path:
    """Return the first of the file's names that exists, compressed or not, once its content is checked."""
    for path in (folder / (name + ending) for name in file.names for ending in (".gz", "")):
        if path.is_file():
            found = None if file.sha256 is None else sha256_of_text(path)
            if found != file.sha256:
                raise ValueError(
                    f"{path} is not the {corpus.name} text that its name says: the SHA-256 of its text is {found}, "
                    f"but must be {file.sha256}. " + _how_to_get(corpus)
                )
            return path
    raise FileNotFoundError(f"{folder} has no {' or '.join(file.names)} (or the same with .gz). " + _how_to_get(corpus))


def _how_to_get(corpus: Corpus) -> str:
    names = sorted(file.names[0] for split in corpus.splits.values() for file in split.files.values())
    return (
        f"Get it from {corpus.source} ({corpus.licence}), put {', '.join(names)} (plain or .gz) into a folder "
        f"DIR/{corpus.name} and set SEQLAB_DATA=DIR."
    )


def read_text(path: str | Path) -> str:
    """Read a file, decompressed where the name ends in .gz, whatever this machine ends lines with.

    Raises:
        ValueError: the compressed file is damaged.
    """
    path = Path(path)
    return _read(path).decode("utf-8")


def sha256_of_text(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, decompressed where the name ends in .gz.

    Raises:
        ValueError: the compressed file is damaged.
    """
    path = Path(path)
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or not gzip-compressed: {error}. Fetch it again.") from error
