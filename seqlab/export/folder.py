"""An exported folder: what another engine loads, our tokenizers beside it, and a file that says where it is from.

export/ctranslate2-float32/model.bin, config.json, *_vocabulary.json   what CTranslate2 loads
                           tokenizer/ (or src_tokenizer/, tgt_tokenizer/)
                           seqlab.json                                 which run and checkpoint, and how it was checked
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

FORMAT_VERSION = 1
DESCRIPTION = "seqlab.json"
ONE_DAY = 86_400
"""In seconds."""
QUANTIZATIONS = (
    *("float32", "float16", "bfloat16", "int16"),
    *("int8", "int8_float32", "int8_float16", "int8_bfloat16"),
)
"""What CTranslate2 can store weights as; what a machine cannot compute with is converted when it is loaded."""


@dataclass(frozen=True)
class Origin:
    """Which weights were exported, and how: two exports with the same origin are the same."""

    step: int
    weights_crc32: int | None
    quantization: str
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Description:
    """What seqlab.json says."""

    origin: Origin
    run: str
    """The run folder, as it was named."""
    seqlab_version: str
    ctranslate2_version: str
    max_src_tokens: int
    """Longer lines are cut, eos not counted."""
    max_length: int
    """Of both sides, special id counted."""
    check: dict[str, Any]
    """How close the export was to the run on real lines."""
    crc32: dict[str, int] = field(default_factory=dict)
    """Of the other files of the folder, by their path in it; older exports do not have them."""
    max_length_ratio: float = DEFAULT_RATIO
    max_length_offset: int = DEFAULT_OFFSET
    """What `OutputLimits` of the run say; older exports do not have them."""

    @property
    def output_limits(self) -> OutputLimits:
        """How long the outputs may become."""
        return OutputLimits(self.max_length, self.max_length_ratio, self.max_length_offset)


class ExportFolder:
    """Paths inside an exported folder, and what is known of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Tell whether this is an export, whole or damaged."""
        return (self.path / DESCRIPTION).is_file()

    def read(self) -> Description:
        """Read seqlab.json; raises ValueError where it is missing, damaged or of another format version."""
        try:
            values = read_checksummed_json(self.path / DESCRIPTION)
            version = validate_type(values["origin"]["format_version"], int)
            if version == FORMAT_VERSION:
                return validate_type(values, Description)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path / DESCRIPTION} is missing or damaged ({error}): export the run again."
            ) from error
        raise ValueError(
            f"{self.path} has export format version {version}, but this seqlab reads version {FORMAT_VERSION}: export "
            "the run again, or use the seqlab version that wrote it (`seqlab_version` in seqlab.json)."
        )

    def checked(self) -> Description:
        """Read seqlab.json and compare all files with their checksums; raises ValueError naming one that is damaged."""
        description = self.read()
        found = file_checksums(self.path)
        for name, checksum in description.crc32.items():
            if found.get(name) != checksum:
                raise ValueError(f"{self.path / name} is missing or damaged: export the run again.")
        return description

    def was_made_from(self, wanted: "Origin") -> bool:
        """Tell whether an export of these weights is here."""
        try:
            return self.read().origin == wanted
        except ValueError:
            return False

    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """Read the source and the target tokenizer; raises ValueError where one is missing or damaged."""
        joint = self.path / "tokenizer"
        if joint.is_dir():
            tokenizer = load_tokenizer(joint)
            return tokenizer, tokenizer
        return load_tokenizer(self.path / "src_tokenizer"), load_tokenizer(self.path / "tgt_tokenizer")

    def vocabulary(self, side: str) -> list[str]:
        """Read CTranslate2's names of the ids of the `source` or the `target`."""
        shared = self.path / "shared_vocabulary.json"
        path = shared if shared.exists() else self.path / f"{side}_vocabulary.json"
        return validate_type(read_json(path), list[str])


def default_folder(run: Path, quantization: str) -> Path:
    """Name the folder of a run's export, one for each quantization; raises ValueError for one that there is not."""
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"`quantization` must be one of {', '.join(QUANTIZATIONS)}, but is `{quantization}` instead.")
    return run / "export" / f"ctranslate2-{quantization}"


def origin(run: RunFolder, step: int, quantization: str) -> Origin:
    """Say which weights an export of a step now would be of; reads no weights."""
    return Origin(step, inference_checksum(run.checkpoints / checkpoint_name(step)), quantization)


def file_checksums(folder: Path) -> dict[str, int]:
    """Compute the CRC-32 of all files of a folder but seqlab.json, by their path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DESCRIPTION)
    return {path.relative_to(folder).as_posix(): file_crc32(path) for path in files}


def write_description(folder: Path, description: Description) -> None:
    """Write seqlab.json."""
    write_checksummed_json(folder / DESCRIPTION, asdict(description))


def save_tokenizers(folder: Path, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> None:
    """Copy the tokenizers: one folder where both sides share it."""
    if src_tokenizer is tgt_tokenizer:
        src_tokenizer.save(folder / "tokenizer")
    else:
        src_tokenizer.save(folder / "src_tokenizer")
        tgt_tokenizer.save(folder / "tgt_tokenizer")


@contextmanager
def building(final: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `final`, synced, when the block ends, and that a failure removes.

    Several processes may do so at the same time, and the last one stays; what one of them left behind when it was
    killed is removed.
    """
    remove_leftovers(final)
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
    """Rename a folder to a name that another may have, or be given by another process at this moment."""
    doomed = final.with_name(f"{final.name}.{os.getpid()}.deleted")
    while folder.exists():
        try:
            rename(folder, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            with suppress(FileNotFoundError):  # another process was quicker
                final.rename(doomed)
                shutil.rmtree(doomed)


def remove_leftovers(final: Path) -> None:
    """Remove what killed processes have left beside an export: nothing is written for as long as a day."""
    for ending in ("tmp", "deleted"):
        for path in final.parent.glob(f"{final.name}.*.{ending}"):
            if path.stat().st_mtime < time.time() - ONE_DAY:
                shutil.rmtree(path, ignore_errors=True)


def refuse_occupied(path: Path, overwrite: bool) -> None:
    """Raise ValueError where something is in the way: anything, or with `overwrite` what is no export."""
    if not path.exists():
        return
    if not overwrite:
        raise ValueError(f"{path} exists already: add `--overwrite` to replace an export, or choose another `--out`.")
    is_empty = path.is_dir() and not any(path.iterdir())
    if not is_empty and not (path / DESCRIPTION).is_file():
        raise ValueError(f"{path} is no export (it has no {DESCRIPTION}) and is left as it is: move it away.")
