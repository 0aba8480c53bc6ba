"""Folder of a CTranslate2 export: CTranslate2's files, the tokenizers, and seqlab.json with their origin.

export/ctranslate2-float32/model.bin, config.json, *_vocabulary.json   files of CTranslate2
                           tokenizer/ (or src_tokenizer/, tgt_tokenizer/)
                           seqlab.json                                 run, checkpoint, limits, checksums, and the
                                                                       comparison of its outputs with the run's
"""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqlab.base.atomic_io import file_crc32, read_checksummed_json, rename, sync_folder, write_checksummed_json
from seqlab.base.parsing import read_json, validate_type
from seqlab.runs.checkpoint import checkpoint_name, inference_checksum
from seqlab.runs.folder import RunFolder
from seqlab.search.config import DEFAULT_OFFSET, DEFAULT_RATIO, OutputLimits
from seqlab.text import Tokenizer, load_tokenizer

EXPORT_FORMAT_VERSION = 1
EXPORT_FILE = "seqlab.json"
MAX_EXPORT_SECONDS = 86_400
"""Maximum time of an export: older temporary folders are those of killed processes."""
QUANTIZATIONS = (
    *("float32", "float16", "bfloat16", "int16"),
    *("int8", "int8_float32", "int8_float16", "int8_bfloat16"),
)
"""Types in which CTranslate2 can store weights; it converts those that a machine cannot compute with when loading."""


@dataclass(frozen=True)
class ExportOrigin:
    """Checkpoint and quantization of an export; two exports of a run with the same origin are equal."""

    step: int
    weights_crc32: int | None
    quantization: str
    format_version: int = EXPORT_FORMAT_VERSION


@dataclass(frozen=True)
class ExportDescription:
    """The content of seqlab.json."""

    origin: ExportOrigin
    run: str
    """Path of the run folder, as given."""
    seqlab_version: str
    ctranslate2_version: str
    max_src_tokens: int
    """Maximum number of source tokens without eos; longer lines are split."""
    max_length: int
    """Maximum number of tokens of either side, including the special token."""
    check: dict[str, Any]
    """Result of the comparison with the run: the fields of `Parity`."""
    crc32: dict[str, int] = field(default_factory=dict)
    """CRC-32 of the other files, by their path in the folder; older exports have none."""
    max_length_ratio: float = DEFAULT_RATIO
    max_length_offset: int = DEFAULT_OFFSET
    """`ratio` and `offset` of the run's `OutputLimits`; older exports have none."""
    has_single_spaces: bool = False
    """Whether runs of white space in sources are read as one space."""

    @property
    def output_limits(self) -> OutputLimits:
        """Maximum output lengths."""
        return OutputLimits(self.max_length, self.max_length_ratio, self.max_length_offset)


class ExportFolder:
    """An exported folder: reads its seqlab.json, tokenizers and vocabularies."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Check whether the folder is an export, which may be damaged."""
        return (self.path / EXPORT_FILE).is_file()

    def read_description(self) -> ExportDescription:
        """Read seqlab.json; raises ValueError if it is missing, damaged or of another format version."""
        try:
            values = read_checksummed_json(self.path / EXPORT_FILE)
            version = validate_type(values["origin"]["format_version"], int)
            if version == EXPORT_FORMAT_VERSION:
                return validate_type(values, ExportDescription)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path / EXPORT_FILE} is missing or damaged ({error}): export the run again."
            ) from error
        raise ValueError(
            f"{self.path} has export format version {version}, but this seqlab reads version {EXPORT_FORMAT_VERSION}: "
            "export the run again, or use the seqlab version that wrote it (`seqlab_version` in seqlab.json)."
        )

    def verify(self) -> ExportDescription:
        """Read seqlab.json and verify the checksums of all files; raises ValueError naming a damaged file."""
        description = self.read_description()
        actual = file_checksums(self.path)
        for name, checksum in description.crc32.items():
            if actual.get(name) != checksum:
                raise ValueError(f"{self.path / name} is missing or damaged: export the run again.")
        return description

    def has_origin(self, origin: ExportOrigin) -> bool:
        """Check whether the folder is an export of this origin with an undamaged seqlab.json."""
        try:
            return self.read_description().origin == origin
        except ValueError:
            return False

    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """Load the source and the target tokenizer; raises ValueError if one is missing or damaged."""
        joint = self.path / "tokenizer"
        if joint.is_dir():
            tokenizer = load_tokenizer(joint)
            return tokenizer, tokenizer
        return load_tokenizer(self.path / "src_tokenizer"), load_tokenizer(self.path / "tgt_tokenizer")

    def vocabulary(self, side: str) -> list[str]:
        """Read CTranslate2's vocabulary of the `source` or the `target`: a distinct name for each id."""
        shared = self.path / "shared_vocabulary.json"
        path = shared if shared.exists() else self.path / f"{side}_vocabulary.json"
        return validate_type(read_json(path), list[str])


def default_export_path(run: Path, quantization: str) -> Path:
    """Return the default folder of a run's export; raises ValueError for an unknown quantization."""
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"`quantization` must be one of {', '.join(QUANTIZATIONS)}, but is `{quantization}` instead.")
    return run / "export" / f"ctranslate2-{quantization}"


def export_origin(run: RunFolder, step: int, quantization: str) -> ExportOrigin:
    """Return the origin of an export of a checkpoint, without reading its weights."""
    return ExportOrigin(step, inference_checksum(run.checkpoints / checkpoint_name(step)), quantization)


def file_checksums(folder: Path) -> dict[str, int]:
    """Compute the CRC-32 of all files of a folder except seqlab.json, by their path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / EXPORT_FILE)
    return {path.relative_to(folder).as_posix(): file_crc32(path) for path in files}


def write_export_description(folder: Path, description: ExportDescription) -> None:
    """Write seqlab.json."""
    write_checksummed_json(folder / EXPORT_FILE, asdict(description))


def save_tokenizers(folder: Path, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> None:
    """Save the tokenizers of both sides, in one folder if the sides share it."""
    if src_tokenizer is tgt_tokenizer:
        src_tokenizer.save(folder / "tokenizer")
    else:
        src_tokenizer.save(folder / "src_tokenizer")
        tgt_tokenizer.save(folder / "tgt_tokenizer")


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """Create a folder atomically: yield a temporary folder, which is synced and renamed to `final` after the block.

    If the block raises, the folder is deleted. If several processes write the same folder, the last one wins. Temporary
    folders of killed processes are deleted.
    """
    remove_old_temporary_folders(final)
    folder = final.with_name(f"{final.name}.{os.getpid()}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        sync_folder(folder)
        _replace(folder, final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(folder: Path, final: Path) -> None:
    """Rename a folder to `final`, replacing a folder of this name, which another process may also be replacing."""
    renamed = final.with_name(f"{final.name}.{os.getpid()}.deleted")
    while folder.exists():
        try:
            rename(folder, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            with suppress(FileNotFoundError):  # another process has renamed it
                final.rename(renamed)
                shutil.rmtree(renamed)


def remove_old_temporary_folders(final: Path) -> None:
    """Delete the temporary folders of killed processes next to an export."""
    for ending in ("tmp", "deleted"):
        for path in final.parent.glob(f"{final.name}.*.{ending}"):
            if path.stat().st_mtime < time.time() - MAX_EXPORT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise ValueError if the path exists; with `overwrite`, only if it is neither an export nor an empty folder."""
    if not path.exists():
        return
    if not overwrite:
        raise ValueError(f"{path} exists already: add `--overwrite` to replace an export, or choose another `--out`.")
    is_empty = path.is_dir() and not any(path.iterdir())
    if not is_empty and not (path / EXPORT_FILE).is_file():
        raise ValueError(
            f"{path} is not an export (it has no {EXPORT_FILE}), and is not overwritten: move it, or choose "
            "another `--out`."
        )
