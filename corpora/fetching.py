"""Getting a corpus: download with checksum, which resumes after an interruption, or generation of its files."""

import shutil
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from ssl import SSLError
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from seqlab.corpora.card import card_path
from seqlab.corpora.description import CorpusDescription, TextFile, find_file, sha256_of_text

PARTIAL = ".part"
"""Ending of a file that is not complete yet."""
TIMEOUT = 60
"""Seconds to wait for a server."""
CANNOT_CONTINUE = 416
"""HTTP status for a range after the end of the file: all of it was downloaded before."""
IS_PART = 206
"""HTTP status of an answer that starts at the requested position."""


def fetch_files(corpus: CorpusDescription, folder: Path) -> list[Path]:
    """Download the files of a corpus that `folder` does not contain yet, and return all of them.

    Raises:
        FileNotFoundError: the server has no such file.
        ConnectionError: the server cannot be reached, or the connection was cut; another call continues.
        ValueError: a file has another checksum than the card.
        OSError: a file cannot be written, for example because the disk is full; another call continues.
    """
    paths = []
    for split in corpus.splits.values():
        for file in split.files.values():
            try:
                paths.append(find_file(corpus, folder, file))
            except FileNotFoundError:
                paths.append(download(file, folder))
    return paths


def generate_files(corpus: CorpusDescription, function: str, folder: Path) -> None:
    """Write the files, or the sample, that a function of the corpus's module generates.

    Raises:
        ValueError: the folder has other files of these names.
    """
    with TemporaryDirectory() as generated:
        getattr(import_module(f"seqlab.corpora.{corpus.name}"), function)(Path(generated))
        owner = "the sample's" if function == corpus.sample else f"that of the corpus {corpus.name}"
        _copy_files(Path(generated), folder, owner)


def write_sample(corpus: CorpusDescription, folder: Path) -> None:
    """Write the sample of a corpus, which has the same file names but which we made.

    Raises:
        ValueError: there is no sample, or the folder has other files of these names.
    """
    stored = card_path(corpus.name).with_name("sample")
    if corpus.sample is not None:
        generate_files(corpus, corpus.sample, folder)
    elif stored.is_dir():
        _copy_files(stored, folder, "the sample's")
    else:
        advice = ": use --get, which generates it without a network" * (corpus.generator is not None)
        raise ValueError(f"The corpus {corpus.name} has no sample{advice}.")


def _copy_files(source: Path, folder: Path, owner: str) -> None:
    """Copy all files below `source`; raise ValueError before the first one if the folder has a different one."""
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    targets = {path: folder / path.relative_to(source) for path in paths}
    for path, target in targets.items():
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise ValueError(f"{target} is not {owner}: choose another folder with --folder, or remove the file.")
    for path in sorted(paths, key=lambda path: -len(path.parts)):  # recordings before their list, which is complete
        targets[path].parent.mkdir(parents=True, exist_ok=True)
        partial = targets[path].with_name(targets[path].name + PARTIAL)
        shutil.copyfile(path, partial)
        partial.replace(targets[path])


def download(file: TextFile, folder: Path) -> Path:
    """Download a file, and return its path. It gets its name when it is complete and its checksum is right.

    Until then it is `NAME.part`, which the next call continues. Raises the errors of `fetch_files`.
    """
    assert file.address is not None
    target = folder / (file.names[0] + (".gz" if file.address.endswith(".gz") else ""))
    partial = target.with_name(target.name + PARTIAL)
    for is_last in (not partial.exists(), True):  # a part of another version of the file is downloaded anew once
        _receive(file.address, partial, target)
        checksum = _complete(partial, target, file)
        if checksum == file.sha256:
            return target
        if is_last:
            break
    raise ValueError(
        f"{file.address} differs from the data card: the SHA-256 of its text is {checksum}, but must be {file.sha256}. "
        f"Nothing was stored. If you trust another source, put its file at {target}."
    )


def _receive(address: str, partial: Path, target: Path) -> None:
    """Append what is missing of a file to `partial`; make its folder when the server answers."""
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "seqlab", **({"Range": f"bytes={start}-"} if start else {})}
    advice = f"Without a network, fetch {address} elsewhere, and put it at {target}."
    try:
        with urlopen(Request(address, headers=headers), timeout=TIMEOUT) as response:
            partial.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("ab" if response.status == IS_PART else "wb") as file:
                shutil.copyfileobj(response, file)
            is_cut = bool(response.length)  # announced bytes that did not come: `read` does not raise an error for them
    except HTTPError as error:
        if error.code != CANNOT_CONTINUE:
            raise FileNotFoundError(f"{address}: {error.code} {error.reason}. {advice}") from error
        is_cut = False
    except (URLError, HTTPException, TimeoutError, ConnectionError, SSLError) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(f"{address} cannot be reached: {reason}. {advice}") from error
    except OSError as error:
        text = f"{error.strerror}. If you make room, the same command continues"
        raise OSError(error.errno, text, str(partial)) from error
    if is_cut:
        raise ConnectionError(f"{address}: the connection was cut. The same command continues. {advice}")


def _complete(partial: Path, target: Path, file: TextFile) -> str:
    """Rename a file whose checksum is right, or remove it; return the checksum of its text."""
    content = partial.with_name(f".{target.name}")  # `sha256_of_text` decompresses by the ending
    partial.replace(content)
    try:
        if file.encoding != "utf-8":
            content.write_bytes(content.read_bytes().decode(file.encoding).encode())
        checksum = sha256_of_text(content)
        if checksum == file.sha256:
            content.replace(target)
        return checksum
    except ValueError:  # compressed and damaged
        return "that of a damaged file"
    finally:
        content.unlink(missing_ok=True)
