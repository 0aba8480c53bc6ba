"""Save and load the codecs of a run, which convert each side of an example to ids, vectors or frames.

The codec of text is a tokenizer, saved by `seqlab.text`. The folder of any other codec has a `codec.json` with
the registered name of the function that loads it. Runs with unknown tokens also have a spelling model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from safetensors import SafetensorError

from seqlab.base.atomic_io import write_bytes, write_json
from seqlab.base.parsing import read_json, read_regular, validate_type
from seqlab.registry import Entry, Parts, find_part, get_entry
from seqlab.runs.folder import RunFolder
from seqlab.runs.task_of_run import missing_plugins_hint
from seqlab.text import Tokenizer, load_tokenizer, tokenizer_kind, tokenizer_sha256

if TYPE_CHECKING:  # reading a codec's name does not import torch
    from seqlab.data.config import DataConfig
    from seqlab.models.spelling import SpellingModel

SIDES = ("src", "tgt")
CODEC_FILE = "codec.json"
CODEC_FORMAT_VERSION = 1
SPELLING_FILE = "model.safetensors"


@dataclass(frozen=True)
class _CodecDescription:
    """The content of codec.json."""

    format_version: int
    codec: str


class Codec(Protocol):
    """Converter from one side of the examples to the model's inputs or targets; their type depends on the task."""

    codec: ClassVar[str]
    """Name of the registered `codec`: a function that loads the files of `save`."""

    def save(self, folder: Path) -> None:
        """Write the codec into an existing folder, which may be moved later."""
        ...


class CodecsMixin:
    """Base of classes with the source and target codecs of a run."""

    codecs: tuple[Any, Any]
    """Source and target codec: the same object for a joint vocabulary or data without separate sources and targets."""

    @property
    def src_tokenizer(self) -> Tokenizer:
        """The codec of the source; only for runs with text on both sides."""
        tokenizer: Tokenizer = self.codecs[0]
        return tokenizer

    @property
    def tgt_tokenizer(self) -> Tokenizer:
        """The codec of the target; only for runs with text on both sides."""
        tokenizer: Tokenizer = self.codecs[1]
        return tokenizer


def save_codec(codec: Codec, folder: RunFolder, side: str) -> None:
    """Save a codec other than a tokenizer for the `src` or `tgt` side of a run."""
    path = folder.path / f"{side}_codec"
    path.mkdir(parents=True, exist_ok=True)
    codec.save(path)
    write_json(path / CODEC_FILE, {"format_version": CODEC_FORMAT_VERSION, "codec": codec.codec})


def load_codecs(folder: RunFolder) -> tuple[Any, Any]:
    """Load the source and the target codec of a run; the same object if the sides share it.

    Raises:
        ValueError: a file is missing, damaged or differs from the one that the run was trained with; the kind of codec
            is not registered.
    """
    recorded = folder.read_description().get("tokenizer_sha256", {}) if folder.exists() else {}
    for side, digest in recorded.items():
        if codec_sha256(path := folder.codec(side)) != digest:
            name, effect = (
                ("codec", "misread its inputs") if has_codec_file(path) else ("tokenizer", "use ids of other tokens")
            )
            raise ValueError(
                f"{path} is not the {side} {name} that {folder.path} was trained with: its model would {effect}. "
                "Restore it from a copy."
            )
    src_folder, tgt_folder = map(folder.codec, SIDES)
    src = _load_codec(src_folder, folder)
    return src, src if src_folder == tgt_folder else _load_codec(tgt_folder, folder)


def load_codecs_for(folder: RunFolder, data: DataConfig) -> tuple[Any, Any]:
    """Load the codecs of a run with the normalization of its data section; raises the errors of `load_codecs`."""
    src, tgt = load_codecs(folder)
    if data.text_form is not None:
        return (src.with_transcripts(data.text_form),) * 2
    return (src.with_single_spaces() if data.has_single_spaces else src), tgt


def load_tokenizers(folder: RunFolder) -> tuple[Tokenizer, Tokenizer]:
    """Load the tokenizers of a run with text on both sides; raises the errors of `load_codecs`."""
    return load_codecs(folder)


def _load_codec(path: Path, folder: RunFolder) -> Any:
    kind, name = read_codec_part(path)
    if name not in Parts(kind):
        raise ValueError(f"{path} holds the {kind} {name!r}, which is not registered.{missing_plugins_hint(folder)}")
    return find_part("codec", name)(path) if kind == "codec" else load_tokenizer(path)


def has_codec_file(path: Path) -> bool:
    """Check whether a folder contains a `codec.json`, which tokenizers do not have."""
    return (path / CODEC_FILE).is_file()


def read_codec_part(path: Path) -> tuple[str, str]:
    """Read the kind (`codec` or `tokenizer`) and the registered name of a codec; raises ValueError if damaged."""
    if not has_codec_file(path):
        return "tokenizer", tokenizer_kind(path)
    file = path / CODEC_FILE
    try:
        description = validate_type(read_json(file), _CodecDescription)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is damaged: {error}.") from error
    if description.format_version != CODEC_FORMAT_VERSION:
        raise ValueError(
            f"{file} has format version {description.format_version}, but this seqlab reads only version "
            f"{CODEC_FORMAT_VERSION}."
        )
    return "codec", description.codec


def codec_sha256(path: Path) -> str:
    """Hash all files of a codec's folder with SHA-256; raises ValueError if it is not the folder of a codec."""
    if not has_codec_file(path):
        return tokenizer_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        content = read_regular(file)
        digest.update(f"{file.relative_to(path).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def codec_parts(folder: RunFolder) -> list[Entry]:
    """List the registry entries of the functions or tokenizers that load the codecs of a run."""
    return [get_entry(*part) for part in dict.fromkeys(read_codec_part(folder.codec(side)) for side in SIDES)]


def save_spelling(spelling: SpellingModel, folder: Path) -> None:
    """Save a spelling model into the folder `RunFolder.spelling`."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / SPELLING_FILE, save(spelling.weights()))


def spelling_sha256(folder: Path) -> str | None:
    """Hash a spelling model; None if the folder has none."""
    path = folder / SPELLING_FILE
    return hashlib.sha256(read_regular(path)).hexdigest() if path.is_file() else None


def load_spelling(run: RunFolder) -> SpellingModel | None:
    """Load the spelling model of a run; None if it has none.

    Raises:
        ValueError: the file is damaged, or differs from the one that the run was trained with.
    """
    from safetensors.torch import load

    from seqlab.models.spelling import SpellingModel

    path, description = run.spelling / SPELLING_FILE, run.read_description()
    if spelling_sha256(run.spelling) != description.get("spelling_sha256", spelling_sha256(run.spelling)):
        raise ValueError(
            f"{path} is damaged: it is not the file that the run was trained with; restore it from a copy."
        )
    if not path.is_file():
        return None
    try:
        return SpellingModel.from_weights(load(read_regular(path)))
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy.") from error
