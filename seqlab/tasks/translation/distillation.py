"""Sequence-level distillation: translate a corpus, with resumable progress in a work file.

The corpus is translated in blocks of lines; each block is sorted by length. A finished block is written to the work
file as one line of JSON and synced before the next block starts. The first line of the work file identifies the model,
the search and the corpus, so that it is not resumed with others.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from seqlab.base.atomic_io import folder_lock, verify_checksum, with_checksum
from seqlab.base.json_text import json_text
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import open_regular, parse_json, require_regular, validate_type
from seqlab.base.world import ProgressCallback
from seqlab.inference.lines import locations_or_numbers
from seqlab.tasks.translation.run import Run

logger = logging.getLogger(__name__)
IDENTITY_KEY = "seqlab distill"
"""Key of the identity in the first line of a work file."""
OFFSET_KEY = "first"
"""Key of a block: number of lines before the block."""
HASHED_KEYS = ("runs", "src")
"""Keys of the identity that have checksums rather than settings as values."""
DISTILL_BLOCK_LINES = 4096
"""Lines per block; enough to fill batches with lines of similar length."""


@dataclass
class Distilled:
    """Translations by the teacher, with counts of irregular lines."""

    translations: list[str] = field(default_factory=list)
    """One translation per line."""
    cut: int = 0
    """Number of translations that were cut at the maximum length."""
    truncated: int = 0
    """Number of sources that were too long for the model and were translated in segments."""
    control_characters: int = 0
    """Number of control characters that were replaced by spaces."""

    def extend(self, block: "Distilled") -> None:
        """Append the translations and counts of a block."""
        self.translations += block.translations
        self.cut += block.cut
        self.truncated += block.truncated
        self.control_characters += block.control_characters


class WorkFile:
    """File of finished blocks; its last line may be incomplete if the process was killed."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """`identity`: the checksums and settings that identify the work, serializable as JSON."""
        self.path, self.identity = path, dict(identity)

    def holds(self, translations: Sequence[str]) -> bool:
        """Check whether the work file has this identity and exactly these translations."""
        if not self.path.is_file():
            return False
        try:
            identity, done, _ = self._read()
        except (OSError, ValueError):
            return False
        return identity is not None and not self._differences(identity) and done.translations == list(translations)

    @contextmanager
    def open(self, *, overwrite: bool = False) -> Iterator[tuple[BinaryIO, Distilled]]:
        """Open the file for appending with an exclusive lock; drop an incomplete last line.

        Yields:
            The open file and the finished translations.

        Raises:
            ValueError: the file has another identity and `overwrite` is false; it is damaged or not a work file, and is
                left unchanged; or another process uses it.
        """
        if self.path.exists():
            require_regular(self.path)
        with open_for_writing(self.path, "ab") as file, self._lock():
            identity, done, size = self._read()
            if identity is not None and overwrite and self._differences(identity):
                identity, done, size = None, Distilled(), 0
            file.truncate(size)
            if identity is None:
                append_json(file, {IDENTITY_KEY: self.identity})
            elif differences := self._differences(identity):
                raise ValueError(
                    f"{self.path} was started with {differences[0]}: use the same settings to resume it, or "
                    "`--overwrite` to delete it and start again."
                )
            yield file, done

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            with folder_lock(self.path, wait=False):
                yield
        except BlockingIOError as error:
            raise ValueError(f"Another process uses {self.path}: wait for it, or name another output file.") from error

    def _read(self) -> tuple[dict[str, Any] | None, Distilled, int]:
        """Read the identity, the finished translations, and the size of the complete lines in bytes."""
        identity: dict[str, Any] | None = None
        done, size = Distilled(), 0
        with open_regular(self.path) as file:
            prefix = b'{"%s": ' % IDENTITY_KEY.encode()
            if not prefix.startswith(file.read(len(prefix))):
                raise ValueError(f"{self.path} is not a work file of `distill`: move it, or name another OUT.")
            file.seek(0)
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    if identity is None:
                        identity = validate_type(_parse_object(line)[IDENTITY_KEY], dict[str, Any])
                    else:
                        done.extend(_parse_block(line, len(done.translations)))
                except (ValueError, KeyError) as error:
                    message = f"{self.path}, line {number}: damaged ({error}): move the file away to start again."
                    raise ValueError(message) from error
                size += len(line)
        return identity, done, size

    def _differences(self, identity: Mapping[str, Any]) -> list[str]:
        """Describe the differences to another identity; settings are shown with their values."""
        differences = []
        for name, value in self.identity.items():
            other = identity.get(name)
            if isinstance(value, dict) and isinstance(other, dict):
                names = [key for key in value | other if value.get(key) != other.get(key)]
                differences += [f"`{key}: {other.get(key)}`, not `{key}: {value.get(key)}`" for key in names]
            elif value != other:
                differences.append(
                    f"another `{name}`" if name in HASHED_KEYS else f"`{name}: {other}`, not `{name}: {value}`"
                )
        return differences


def _parse_block(line: bytes, first: int) -> Distilled:
    """Parse a block, which must start at line `first` of the corpus; raise ValueError if it is damaged."""
    values = _parse_object(line)
    if values.pop(OFFSET_KEY, first) != first:  # older versions did not write it
        raise ValueError("it does not follow the previous block")
    if values.keys() != {member.name for member in fields(Distilled)}:
        raise ValueError("it does not have the keys of a block")
    block = validate_type(values, Distilled)
    if any("\n" in translation for translation in block.translations):
        raise ValueError("a translation contains a newline")
    return block


def _parse_object(line: bytes) -> dict[str, Any]:
    """Parse an object written by `append_json`, or by older versions, which wrote no checksum."""
    return verify_checksum(parse_json(line), required=False)


def append_json(file: BinaryIO, value: Mapping[str, Any]) -> None:
    """Append an object with its checksum as a line of JSON, and sync the file."""
    file.write(json_text(with_checksum(value), ensure_ascii=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def sha256_of(lines: Sequence[str]) -> str:
    """Compute the SHA-256 hash of the lines of a text."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def distill(
    run: Run,
    lines: Sequence[str],
    work: WorkFile,
    *,
    block_lines: int = DISTILL_BLOCK_LINES,
    locations: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> Distilled:
    """Translate lines, and resume after those in the work file, which is not deleted afterwards.

    Args:
        run: a loaded translation run.
        lines: text without newlines.
        work: file of finished translations.
        block_lines: lines per block of the work file.
        locations: source location of each line, for messages; `line 1`, `line 2`, ... by default.
        overwrite: whether to delete a work file with another identity.
        progress: called with numbers of finished lines (or segments of split lines).
        options: arguments of `Run.translate_detailed`.

    Raises:
        ValueError: the work file has another identity, is damaged or not a work file, or another process uses it.
    """
    locations = locations_or_numbers(locations, len(lines))
    with work.open(overwrite=overwrite) as (file, done):
        if count := len(done.translations):
            logger.info("resuming from %s: %s of %s lines are done", work.path, f"{count:,}", f"{len(lines):,}")
        if count > len(lines):
            raise ValueError(
                f"{work.path} is damaged: it has {count:,} translations, but there are {len(lines):,} lines: move it "
                "away to start again."
            )
        if progress is not None:
            progress(count)
        try:
            for start in range(count, len(lines), block_lines):
                block = slice(start, start + block_lines)
                translations = run.translate_detailed(
                    lines[block], need_scores=False, locations=locations[block], progress=progress, **options
                )
                translated = Distilled(
                    [translation.text for translation in translations],
                    sum(not translation.hypotheses[0].finished for translation in translations),
                    sum(translation.truncated for translation in translations),
                    sum(translation.control_characters for translation in translations),
                )
                append_json(file, {OFFSET_KEY: start, **asdict(translated)})
                done.extend(translated)
        except BaseException:
            if done.translations:
                logger.warning("%s has the translations so far: run the same command to resume", work.path)
            else:
                work.path.unlink()  # an empty work file would block other settings
            raise
    return done
