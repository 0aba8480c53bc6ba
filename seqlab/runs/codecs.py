"""Codecs of a run folder: what turns each side of an example into rows of ids, vectors or frames.

A codec of text is a tokenizer, whose folder is as `seqlab.text` writes it. The folder of any other has a `codec.json`,
which names the registered part that reads it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_json, read_regular, validate_type
from seqlab.registry import Entry, Parts, find_part, get_entry
from seqlab.runs.folder import RunFolder
from seqlab.runs.use import missing_plugins_hint
from seqlab.text import Tokenizer, load_tokenizer, tokenizer_kind, tokenizer_sha256

SIDES = ("src", "tgt")
DESCRIPTION = "codec.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class _Description:
    """What codec.json holds."""

    format_version: int
    codec: str


class Codec(Protocol):
    """Converts one side of examples to what a model reads; task and model agree on what that is."""

    codec: ClassVar[str]
    """The name of a registered `codec`: a function that reads from a folder what `save` has written."""

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
            name, misread = (
                ("codec", "misread its inputs")
                if is_described(path)
                else ("tokenizer", "read other words from the same ids")
            )
            raise ValueError(
                f"{path} is not the {side} {name} that {folder.path} was trained with: its model would {misread}. "
                "Restore it from a copy."
            )
    src_folder, tgt_folder = map(folder.codec, SIDES)
    src = _load(src_folder, folder)
    return src, src if src_folder == tgt_folder else _load(tgt_folder, folder)


def load_tokenizers(folder: RunFolder) -> tuple[Tokenizer, Tokenizer]:
    """Read the tokenizers of a run whose sides are text; errors as `load_codecs`."""
    return load_codecs(folder)


def _load(path: Path, folder: RunFolder) -> Any:
    kind, name = part_of(path)
    if name not in Parts(kind):
        raise ValueError(f"{path} is a {kind} {name!r}, which is not registered.{missing_plugins_hint(folder)}")
    return find_part("codec", name)(path) if kind == "codec" else load_tokenizer(path)


def is_described(path: Path) -> bool:
    """Tell whether a folder holds a codec that is no tokenizer."""
    return (path / DESCRIPTION).is_file()


def part_of(path: Path) -> tuple[str, str]:
    """Read which part a folder holds: `codec` or `tokenizer`, and its name; raises ValueError where it is damaged."""
    if not is_described(path):
        return "tokenizer", tokenizer_kind(path)
    file = path / DESCRIPTION
    try:
        description = validate_type(read_json(file), _Description)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is damaged: {error}.") from error
    if description.format_version != FORMAT_VERSION:
        raise ValueError(
            f"{file} has format version {description.format_version}, but this seqlab reads {FORMAT_VERSION} only."
        )
    return "codec", description.codec


def codec_sha256(path: Path) -> str:
    """Tell codecs in folders apart, by all of their files; raises ValueError where there is none."""
    if not is_described(path):
        return tokenizer_sha256(path)
    found = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        content = read_regular(file)
        found.update(f"{file.relative_to(path).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def codec_parts(folder: RunFolder) -> list[Entry]:
    """List the registered parts that read the sides of a run."""
    return [get_entry(*part) for part in dict.fromkeys(part_of(folder.codec(side)) for side in SIDES)]
