"""Columns of Hugging Face datasets: `hub:NAME:SPLIT#COLUMN`, downloaded and cached by `datasets`."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from seqlab.data.column import Column, Stamp, value_as_text

HUB_PREFIX = "hub:"
HUB_SYNTAX = f"{HUB_PREFIX}NAME[@REVISION][:CONFIG]:SPLIT#COLUMN"
HUB_EXAMPLE = f"{HUB_PREFIX}Salesforce/wikitext:wikitext-2-v1:train#text"
RECORDS_PER_READ = 1000
"""Number of records read from a table at a time; reading single records is ten times as slow."""
# A split may be a slice such as train[:90%], which has a colon too.
_SPEC = re.compile(
    rf"{HUB_PREFIX}(?P<name>[^:@#]+)(@(?P<revision>[^:#]+))?(:(?P<config>[^:#\[]+))?:(?P<split>[^:#\[]+(\[[^#]*\])?)"
    r"#(?P<column>.+)"
)


@dataclass(frozen=True)
class HubColumn(Column):
    """A column of a split of a dataset on the Hugging Face hub or in a local folder."""

    name: str  # on the hub, or the path of a folder
    revision: str | None  # a branch, tag or commit of the hub's repository
    config: str | None
    split: str  # train, or a slice of it: train[:90%]
    column: str  # dotted when nested

    @property
    def source(self) -> str:
        return str(self)

    @property
    def identity(self) -> str:
        return str(self)

    @property
    def kind(self) -> str:
        return "hub"

    def stamp(self) -> Stamp:
        """Return the stamp of the files in which `datasets` caches the split; errors as in `cells`."""
        stats = [path.stat() for path in self._files()]
        times = [(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats] or [(0, 0)]
        return (
            sum(stat.st_size for stat in stats),
            max(mtime for mtime, _ in times),
            max(ctime for _, ctime in times),
        )

    def sha256(self) -> str:
        """Return the SHA-256 of the text, which is the same on every machine; errors as in `cells`."""
        return _hash_cells(self, self.stamp())

    def num_bytes(self) -> int:
        return self.stamp()[0]

    def cells(self) -> Iterator[str]:
        """Yield the text of each record.

        Raises:
            ValueError: `datasets` is not installed, the dataset cannot be loaded, or the column is missing or not text.
        """
        table, name = self._load(), str(self)
        key = self.column if self.column in table.column_names else self.column.partition(".")[0]
        if key not in table.column_names:
            raise ValueError(f"{name}: has no column {self.column!r}, only {', '.join(table.column_names)}.")
        number = 0
        for records in table.select_columns([key]).iter(RECORDS_PER_READ):
            for value in records[key]:
                number += 1
                yield value_as_text({key: value}, self.column, f"{name}, record {number}")

    def _files(self) -> list[Path]:
        return [Path(file["filename"]) for file in self._load().cache_files]

    def _load(self) -> Any:
        """Open the split, and download it first if it is not cached."""
        require_datasets(str(self))
        # A local folder may change while the process runs; a download does not.
        return _open(self) if Path(self.name).is_dir() else _open_once(self)

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        config = "" if self.config is None else f":{self.config}"
        return f"{HUB_PREFIX}{self.name}{revision}{config}:{self.split}#{self.column}"


def parse_hub(spec: str) -> HubColumn:
    """Parse `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`; raises ValueError for anything else."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"{spec}: must have the form {HUB_SYNTAX}, for example {HUB_EXAMPLE}.")
    return HubColumn(**match.groupdict())


def require_datasets(name: str) -> ModuleType:
    """Import `datasets`; raises ValueError if it is not installed; `name` is the dataset, for the message."""
    try:
        import datasets
    except ImportError:
        raise ValueError(f"{name}: needs an optional dependency: pip install 'seqlab[datasets]'.") from None
    for library in ("datasets", "huggingface_hub") if logging.getLogger().handlers else ():
        logging.getLogger(library).handlers.clear()  # the handlers of the libraries print each message a second time
    assert isinstance(datasets, ModuleType)
    return datasets


def open_hub_records(spec: str, audio_column: str) -> tuple[Any, Stamp]:
    """Open the records of `hub:NAME[@REVISION][:CONFIG]:SPLIT` without decoding recordings; also return their stamp.

    Raises:
        ValueError: the name is invalid, the dataset cannot be loaded, or the column is missing.
    """
    column = parse_hub(spec if "#" in spec else f"{spec}#{audio_column}")
    datasets, table = require_datasets(spec), column._load()
    if isinstance(table.features.get(audio_column), datasets.Audio):
        table = table.cast_column(audio_column, datasets.Audio(decode=False))
    return table, column.stamp()


def _open(column: HubColumn) -> Any:
    datasets = require_datasets(str(column))
    try:
        # Not in memory, because the stamp is computed from files.
        return datasets.load_dataset(
            column.name, column.config, split=column.split, revision=column.revision, keep_in_memory=False
        )
    except (datasets.exceptions.DatasetsError, ValueError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{column}: cannot be loaded ({error}). Check its name, config and split ({HUB_SYNTAX}), and that "
            "this machine can reach huggingface.co; or name a local file."
        ) from error


_open_once = lru_cache(maxsize=64)(_open)


@lru_cache(maxsize=1024)
def _hash_cells(column: HubColumn, stamp: Stamp) -> str:
    """Hash the text; `stamp` is part of the key of `lru_cache`, so that a changed dataset is read again."""
    digest = hashlib.sha256()
    for cell in column.cells():
        raw = cell.encode("utf-8")
        digest.update(b"%d:" % len(raw) + raw)  # with lengths, so that the hash depends on the boundaries of records
    return digest.hexdigest()
