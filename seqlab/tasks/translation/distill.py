"""A whole corpus through a translator, kept as it goes: what is done is not done again after a kill.

The corpus is translated in blocks, within each of which lines are sorted by length. A block that is done is written to
the work file, one line of JSON, and synced before the next begins. The first line of that file says what the work is
of, so that the work of another model, search or corpus is not gone on with.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from seqlab.base.atomic_io import folder_lock, verify_checksum, with_checksum
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import open_regular, parse_json, require_regular, validate_type
from seqlab.base.world import OnRows
from seqlab.inference.lines import locations_or_numbers
from seqlab.tasks.translation.run import Run

logger = logging.getLogger(__name__)
MARK = "seqlab distill"
"""What a work file begins with, and what it is of behind it."""
FIRST = "first"
"""In a block, how many lines are before it."""
HASHED = ("runs", "src")
"""What of a work's identity is no setting, but checksums."""
BLOCK_LINES = 4096
"""Lines that are translated before they are kept: sorted by length they fill their batches as well as all would."""


@dataclass
class Distilled:
    """What the teacher says, and what happened to it."""

    translations: list[str] = field(default_factory=list)
    """One for each line."""
    cut: int = 0
    """Translations that the maximum length ended."""
    truncated: int = 0
    """Sources that are too long for the model: translated in pieces."""
    control_characters: int = 0
    """How many were replaced by spaces."""

    def extend(self, block: "Distilled") -> None:
        """Put another part behind it."""
        self.translations += block.translations
        self.cut += block.cut
        self.truncated += block.truncated
        self.control_characters += block.control_characters


class WorkFile:
    """What is translated so far, of which a kill may have torn the last line."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """`identity`: what the work is of, as JSON can hold it."""
        self.path, self.identity = path, dict(identity)

    def holds(self, translations: Sequence[str]) -> bool:
        """Return whether the work file is of this work and holds exactly these translations."""
        if not self.path.is_file():
            return False
        try:
            identity, done, _ = self._read()
        except (OSError, ValueError):
            return False
        return identity is not None and not self._others(identity) and done.translations == list(translations)

    @contextmanager
    def open(self, *, overwrite: bool = False) -> Iterator[tuple[BinaryIO, Distilled]]:
        """Open it to be written on, by no one else, and cut off what is torn; give what is there.

        Raises:
            ValueError: it is of another work, and this is not to overwrite that; it is damaged or something else, which
                is left as it is; or another process works on it.
        """
        if self.path.exists():
            require_regular(self.path)
        with open_for_writing(self.path, "ab") as file, self._alone():
            identity, done, size = self._read()
            if identity is not None and overwrite and self._others(identity):
                identity, done, size = None, Distilled(), 0
            file.truncate(size)
            if identity is None:
                keep(file, {MARK: self.identity})
            elif others := self._others(identity):
                raise ValueError(
                    f"{self.path} was begun with {others[0]}: give that again to go on, or begin anew with "
                    "`--overwrite`, which loses what it holds."
                )
            yield file, done

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with folder_lock(self.path, wait=False):
                yield
        except BlockingIOError as error:
            raise ValueError(f"Another process works on {self.path}: wait for it, or name another file.") from error

    def _read(self) -> tuple[dict[str, Any] | None, Distilled, int]:
        """Give what the work is of, what is done, and how many bytes are whole."""
        identity: dict[str, Any] | None = None
        done, size = Distilled(), 0
        with open_regular(self.path) as file:
            beginning = b'{"%s": ' % MARK.encode()
            if not beginning.startswith(file.read(len(beginning))):
                raise ValueError(f"{self.path} is not what `distill` keeps its work in: move it, or name another OUT.")
            file.seek(0)
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    if identity is None:
                        identity = validate_type(_unsealed(line)[MARK], dict[str, Any])
                    else:
                        done.extend(_block_of(line, len(done.translations)))
                except (ValueError, KeyError) as error:
                    raise ValueError(f"{self.path}, line {number}: is damaged ({error}); move the file.") from error
                size += len(line)
        return identity, done, size

    def _others(self, identity: Mapping[str, Any]) -> list[str]:
        """Say in what another work differs: values where they are settings, which fit a line."""
        found = []
        for name, value in self.identity.items():
            other = identity.get(name)
            if isinstance(value, dict) and isinstance(other, dict):
                names = [key for key in value | other if value.get(key) != other.get(key)]
                found += [f"`{key}: {other.get(key)}`, not `{key}: {value.get(key)}`" for key in names]
            elif value != other:
                found.append(f"another `{name}`" if name in HASHED else f"`{name}: {other}`, not `{name}: {value}`")
        return found


def _block_of(line: bytes, first: int) -> Distilled:
    """Read a block that was kept, that of the lines from `first` on; raises ValueError where it is damaged."""
    values = _unsealed(line)
    if values.pop(FIRST, first) != first:  # older versions did not note it
        raise ValueError("it is not the block that follows the one before it")
    if values.keys() != {each.name for each in fields(Distilled)}:
        raise ValueError("it has other keys than a block")
    block = validate_type(values, Distilled)
    if any("\n" in translation for translation in block.translations):
        raise ValueError("a translation holds a newline")
    return block


def _unsealed(line: bytes) -> dict[str, Any]:
    """Parse an object that `keep` wrote, or an older version without a checksum."""
    return verify_checksum(parse_json(line), required=False)


def keep(file: BinaryIO, value: Mapping[str, Any]) -> None:
    """Write an object with its checksum on a line of JSON and bring it to the disk."""
    file.write(json.dumps(with_checksum(value), ensure_ascii=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def sha256_of(lines: Sequence[str]) -> str:
    """Tell texts apart."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def distill(
    run: Run,
    lines: Sequence[str],
    work: WorkFile,
    *,
    block_lines: int = BLOCK_LINES,
    locations: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: OnRows | None = None,
    **options: Any,
) -> Distilled:
    """Translate lines, going on where the work file ends, which stays when all are done.

    Args:
        run: what `load` gave.
        lines: text without newlines.
        work: where translations are kept until all are there.
        block_lines: lines that are translated before they are kept.
        locations: where each line stands, for messages; `line 1` and so on unless given.
        overwrite: whether another work is thrown away.
        progress: called with how many lines (pieces of lines that were cut) are done.
        options: of `Run.translate_detailed`.

    Raises:
        ValueError: the work file is of another work or something else, or another process writes it.
    """
    locations = locations_or_numbers(locations, len(lines))
    with work.open(overwrite=overwrite) as (file, done):
        if count := len(done.translations):
            logger.info("going on with %s: %s of %s lines are there", work.path, f"{count:,}", f"{len(lines):,}")
        if count > len(lines):
            raise ValueError(
                f"{work.path} is damaged: it holds {count:,} translations of {len(lines):,} lines. Move it, and begin "
                "anew."
            )
        if progress is not None:
            progress(count)
        try:
            for start in range(count, len(lines), block_lines):
                block = slice(start, start + block_lines)
                found = run.translate_detailed(
                    lines[block], need_scores=False, locations=locations[block], progress=progress, **options
                )
                translated = Distilled(
                    [each.text for each in found],
                    sum(not each.hypotheses[0].finished for each in found),
                    sum(each.truncated for each in found),
                    sum(each.control_characters for each in found),
                )
                keep(file, {FIRST: start, **asdict(translated)})
                done.extend(translated)
        except BaseException:
            if done.translations:
                logger.warning("%s holds what is done so far: the same command goes on with it", work.path)
            else:
                work.path.unlink()  # it would only be in the way of another command
            raise
    return done
