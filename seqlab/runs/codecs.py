"""Codecs of a run folder: what turns each side of an example into rows of ids, vectors or frames.

A codec of text is a tokenizer, whose folder is as `seqlab.text` writes it. The folder of any other has a `codec.json`,
which names the registered part that reads it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Protocol

from seqlab.durable import write_json
from seqlab.registry import Entry, Parts, default_part, entry_of, find
from seqlab.runs.folder import RunFolder
from seqlab.runs.use import missing_plugins_hint
from seqlab.text import Tokenizer, tokenizer_sha256

SIDES = ("src", "tgt")
DESCRIPTION = "codec.json"
FORMAT_VERSION = 1


class Codec(Protocol):
    """One side of examples: what the task and the model of a run make of it is between these two."""

    codec: ClassVar[str]
    """The name under which a function is registered as a `codec` that reads from a folder what `save` has written."""

    def save(self, folder: Path) -> None:
        """Write everything that reading it back needs into a folder, which is there and may be moved afterwards."""
        ...


class WithCodecs:
    """The base of what has the codecs of a run."""

    codecs: tuple[Any, Any]
    """Of the source and of the target, one object where the data has one side or a joint vocabulary."""

    @property
    def src_tokenizer(self) -> Tokenizer:
        """The source's codec; of runs whose sides are text."""
        tokenizer: Tokenizer = self.codecs[0]
        return tokenizer

    @property
    def tgt_tokenizer(self) -> Tokenizer:
        """The target's codec; of runs whose sides are text."""
        tokenizer: Tokenizer = self.codecs[1]
        return tokenizer


def save_codec(codec: Codec, folder: RunFolder, side: str) -> None:
    """Write a codec that is no tokenizer as that of the `src` or `tgt` side of a run."""
    path = folder.path / f"{side}_codec"
    path.mkdir(parents=True, exist_ok=True)
    codec.save(path)
    write_json(path / DESCRIPTION, {"format_version": FORMAT_VERSION, "codec": codec.codec})


def load_codecs(folder: RunFolder) -> tuple[Any, Any]:
    """Read the source and the target codec, one object where the sides share it.

    Raises:
        ValueError: a file is missing or damaged, or is not that which the run was begun with; its kind of codec is
            unknown.
    """
    known = folder.read_description().get("tokenizer_sha256", {}) if folder.exists() else {}
    for side, digest in known.items():
        if codec_sha256(path := folder.codec(side)) != digest:
            name, read = ("codec", "values") if is_described(path) else ("tokenizer", "words")
            raise ValueError(
                f"{path} is not the {side} {name} that {folder.path} was trained with: its model would read other "
                f"{read} from the same ids. Restore it from a copy."
            )
    src_folder, tgt_folder = map(folder.codec, SIDES)
    src = _load(src_folder, folder)
    return src, src if src_folder == tgt_folder else _load(tgt_folder, folder)


def load_tokenizers(folder: RunFolder) -> tuple[Tokenizer, Tokenizer]:
    """Read the tokenizers of a run whose sides are text; errors as `load_codecs`."""
    return load_codecs(folder)


def _load(path: Path, folder: RunFolder) -> Any:
    name = codec_name(path)
    if name is None:
        return default_part("codec")(path)
    if name not in Parts("codec"):
        raise ValueError(f"{path} is a codec {name!r}, which is not registered.{missing_plugins_hint(folder)}")
    return find("codec", name)(path)


def is_described(path: Path) -> bool:
    """Tell whether a folder holds a codec that is no tokenizer."""
    return (path / DESCRIPTION).is_file()


def codec_name(path: Path) -> str | None:
    """Read which codec a folder holds, None for a tokenizer; raises ValueError where that is damaged."""
    if not is_described(path):
        return None
    file = path / DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        name, version = str(description["codec"]), description["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged: {error!r}.") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{file} has format version {version}, but this seqlab reads {FORMAT_VERSION} only.")
    return name


def codec_sha256(path: Path) -> str:
    """Tell codecs in folders apart, by all of their files; raises ValueError where there is none."""
    if not is_described(path):
        return tokenizer_sha256(path)
    found = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        found.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return found.hexdigest()


def codec_parts(folder: RunFolder) -> list[Entry]:
    """List the registered codecs of a run that are no tokenizers."""
    names = dict.fromkeys(codec_name(folder.codec(side)) for side in SIDES)
    return [entry_of("codec", name) for name in names if name is not None]
