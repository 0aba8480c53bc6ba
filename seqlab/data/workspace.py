"""Workspace of a cache: the folder `CACHE.tmp` with intermediate results, for resuming after an interruption."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from seqlab.base.atomic_io import read_checksummed_json, write_checksummed_json
from seqlab.data.corpus import Corpus
from seqlab.data.input_hashes import corpus_key
from seqlab.data.ragged import ArrayWriter, open_array
from seqlab.data.survey import PreparationProgress, Survey, survey_corpus
from seqlab.data.workers import Workers

INPUT_ERRORS = (ValueError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Exceptions for invalid input, after which the workspace is deleted. After other errors, such as a full disk, it is
kept."""
KEY_CHARS = 16  # number of characters of a SHA-256 in the names of folders


def workspace_of(cache: Path) -> Path:
    """Return the path of the workspace of a cache."""
    return cache.with_name(cache.name + ".tmp")


@contextmanager
def workspace(cache: Path) -> Iterator[Path]:
    """Yield the workspace of a cache; delete it after an error in the input, but not after a full disk."""
    folder = workspace_of(cache)
    try:
        yield folder
    except INPUT_ERRORS:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def open_or_make_survey(corpus: Corpus, folder: Path, workers: Workers, on_progress: PreparationProgress) -> Survey:
    """Survey a corpus, or open an earlier survey of the same text from the workspace."""
    path = folder / "surveys" / corpus_key(corpus)[:KEY_CHARS]
    try:
        return _open_survey(path, corpus)
    except ValueError:
        shutil.rmtree(path, ignore_errors=True)
    surveyed = survey_corpus(corpus, workers, on_progress)
    path.mkdir(parents=True)
    for number, hashes in enumerate(surveyed.hashes):
        with ArrayWriter(path / f"hashes_{number}", np.uint64) as writer:
            writer.append(hashes)
    write_checksummed_json(path / "survey.json", {"chars_ratio": surveyed.chars_ratio})
    return _open_survey(path, corpus)


def _open_survey(path: Path, corpus: Corpus) -> Survey:
    hashes = [open_array(path / f"hashes_{number}", check=True) for number in range(len(corpus.columns))]
    try:
        chars_ratio = float(read_checksummed_json(path / "survey.json")["chars_ratio"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is not a complete survey ({error}).") from error
    return Survey(corpus, hashes, chars_ratio)
