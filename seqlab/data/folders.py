"""Files of a folder: data, hidden files and files of other kinds. One rule for images and recordings."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seqlab.base.reading_notes import READ_AS_MEANT, ReadingNotes

logger = logging.getLogger(__name__)
SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "lost+found", "$recycle.bin", "@eadir"}
    | {"system volume information", "__pycache__"}
)
"""Lower-case names of files and folders that systems create by themselves, without a leading dot."""
SPLIT_NAMES = frozenset({"train", "training", "valid", "validation", "val", "dev", "test", "testing", "eval"})
"""Lower-case names of folders for splits of a data set."""
MAX_NAMED = 5
"""Maximum number of items that a message lists."""
_reported: set[tuple[Path, str]] = set()
"""Folders and the notes on them that were logged."""


@dataclass(frozen=True)
class FileKind:
    """A kind of data files, recognized by their suffixes."""

    noun: str
    """`images` or `recordings`, for messages."""
    label: str
    """Meaning of a subfolder's name: `class` or `label`."""
    suffixes: frozenset[str]
    """Lower-case suffixes."""
    advice: str
    """What to do with a file that is not in a subfolder for its label."""
    first_suffixes: frozenset[str] | None = None
    """Suffixes that the first version of the reading knew, if it read hidden files as well."""


@dataclass
class FolderFiles:
    """Data files of a folder, sorted, and notes on the files that were left out."""

    files: list[Path] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    """Depth of each file: 1 for the files in the folder itself."""
    notes: ReadingNotes = field(default_factory=ReadingNotes)
    foreign: list[Path] = field(default_factory=list)
    """Files with other suffixes."""

    def log(self, folder: Path) -> None:
        """Warn of the files that were left out, once for each folder."""
        for line in self.notes.lines():
            if (folder, line) not in _reported:  # folders are listed several times
                _reported.add((folder, line))
                logger.warning("%s: %s", folder, line)


def is_hidden(name: str) -> bool:
    """Return whether a name is that of a hidden file or folder, a backup copy, or a file of the operating system."""
    return name.startswith(".") or name.endswith("~") or name.lower() in SYSTEM_NAMES


def list_files(folder: Path, kind: FileKind) -> FolderFiles:
    """List the data files of a folder and of all its subfolders."""
    listed = FolderFiles()
    for path, depth in _visit(folder, kind, listed.notes, (os.path.realpath(folder),)):
        if path.suffix.lower() in kind.suffixes:
            listed.files.append(path)
            listed.depths.append(depth)
        else:
            listed.foreign.append(path)
    if listed.foreign:
        text = f"files are not {kind.noun} and were left out ({count_suffixes(listed.foreign)})"
        listed.notes.add(text, str(listed.foreign[0]), count=len(listed.foreign))
    return listed


def labeled_files(folder: Path, kind: FileKind) -> FolderFiles:
    """List the files of a folder with one subfolder for each class or label.

    Raises:
        ValueError: there are no such files; a file is not directly in a subfolder; a subfolder has no files, or all
            subfolders have the names of splits.
    """
    listed = list_files(folder, kind)
    labels = {path.parent.name for path in listed.files}
    for path, depth in zip(listed.files, listed.depths, strict=True):
        if depth != 2:
            link = next((parent for parent in path.parents if parent.is_symlink() and folder in parent.parents), None)
            reason = f" ({link} is a link to a folder)" if link is not None else ""
            raise ValueError(f"{path}: is not in a subfolder of {folder} for its {kind.label}{reason}: {kind.advice}.")
    if labels and all(label.lower() in SPLIT_NAMES for label in labels):
        named = " and ".join(str(folder / label) for label in sorted(labels))
        raise ValueError(
            f"{named}: the name of a split is not a {kind.label}: name the folder of each split by `data.train` or "
            f"`data.valid`; it needs one subfolder for each {kind.label}."
        )
    newly_read = [path for path in listed.files if path.suffix.lower() not in (kind.first_suffixes or kind.suffixes)]
    if newly_read:
        text = f"{kind.noun} have suffixes that earlier versions left out ({count_suffixes(newly_read)})"
        listed.notes.add(text, str(newly_read[0]), count=len(newly_read), since=READ_AS_MEANT)
    if listed.files:
        _refuse_empty_subfolders(folder, kind, labels, listed.foreign)
    return listed


def unlabeled_files(folder: Path, kind: FileKind) -> FolderFiles:
    """List the files of a folder, or of its subfolders.

    Raises:
        ValueError: there are no such files, or some are in the folder and others in its subfolders.
    """
    listed = list_files(folder, kind)
    if not listed.files:
        raise ValueError(f"{folder}: has no {kind.noun} ({', '.join(sorted(kind.suffixes))}).")
    for path, depth in zip(listed.files, listed.depths, strict=True):
        if depth > 2 or depth != listed.depths[0]:
            examples = f"{listed.files[0]}, {path}"
            raise ValueError(f"{folder}: has {kind.noun} at different depths ({examples}): name one folder.")
    return listed


def _refuse_empty_subfolders(folder: Path, kind: FileKind, labels: set[str], foreign: list[Path]) -> None:
    """Raise ValueError if a subfolder of labels contains no data files."""
    for entry in sorted(folder.iterdir()):
        is_label = entry.is_dir() and not is_hidden(entry.name) and not _contains(os.path.realpath(entry), folder)
        if is_label and entry.name not in labels:
            suffixes = ", ".join(sorted(kind.suffixes))
            other_types = count_suffixes([path for path in foreign if entry in path.parents])
            raise ValueError(
                f"{entry}: has no {kind.noun} ({suffixes}){f', only {other_types}' if other_types else ''}, so its "
                f"{kind.label} has no examples."
            )


def _visit(folder: Path, kind: FileKind, notes: ReadingNotes, ancestors: tuple[str, ...]) -> Iterator[tuple[Path, int]]:
    """Yield the files of a folder and of its subfolders that are not hidden, sorted, with their depths.

    `ancestors` are the resolved paths of the folder and of those that contain it.
    """
    with os.scandir(folder) as scan:  # its entries know their type without another call of the system
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        if is_hidden(entry.name):
            data = _hidden_data(path, kind.first_suffixes or frozenset(), len(ancestors))
            if data:
                notes.add(f"hidden {kind.noun} were left out", str(data[0]), count=len(data), since=READ_AS_MEANT)
            else:
                notes.add("hidden files and folders were left out", str(path))
        elif not entry.is_dir():
            if entry.is_file() or entry.is_symlink():  # reading a broken link is an error
                yield path, len(ancestors)
            else:
                notes.add("pipes and devices were left out", str(path))
        elif (target := os.path.realpath(path)) in ancestors or _contains(target, folder):
            notes.add("links to a folder that contains them were left out", str(path))
        else:
            yield from _visit(path, kind, notes, (*ancestors, target))


def _contains(target: str, folder: Path) -> bool:
    """Return whether a resolved path is that of a folder, or of one that contains it."""
    real = os.path.realpath(folder)
    return os.path.commonpath((target, real)) == target


def _hidden_data(path: Path, suffixes: frozenset[str], depth: int) -> list[Path]:
    """List the data files that the first version read: hidden ones at depth 2, and those of hidden folders at depth 1.

    Args:
        path: a hidden file or folder.
        suffixes: suffixes that the first version knew.
        depth: depth of the path.
    """
    if path.is_dir() != (depth == 1) or depth > 2:
        return []
    try:
        return [file for file in sorted(path.iterdir() if depth == 1 else [path]) if file.suffix.lower() in suffixes]
    except OSError:  # such as the folder of another user
        return []


def count_suffixes(files: list[Path]) -> str:
    """Count files by suffix, such as `3 .txt, 1 without a suffix`."""
    counts = Counter(path.suffix.lower() or "without a suffix" for path in files).most_common()
    num_others = sum(count for _, count in counts[MAX_NAMED:])
    named = [f"{count:,} {suffix}" for suffix, count in counts[:MAX_NAMED]]
    return ", ".join([*named, f"{num_others:,} others"] if num_others else named)
