"""What is made on the way to a cache, in a folder beside it: whoever comes after a kill finds it there."""

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
from seqlab.data.survey import OnProgress, Survey, survey_corpus
from seqlab.data.workers import Workers

INPUT_ERRORS = (ValueError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What bad input is refused with. A full disk is none: what has been prepared until then is worth keeping."""
KEY_CHARS = 16  # of a SHA-256, in the names of folders


def workspace_of(cache: Path) -> Path:
    return cache.with_name(cache.name + ".tmp")


@contextmanager
def workspace(cache: Path) -> Iterator[Path]:
    """Give the folder, and remove it where the input is refused; on a full disk it stays."""
    folder = workspace_of(cache)
    try:
        yield folder
    except INPUT_ERRORS:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def open_or_make_survey(corpus: Corpus, folder: Path, workers: Workers, on_progress: OnProgress) -> Survey:
    """Survey a corpus, or open what an earlier survey of the same text left in a workspace."""
    place = folder / "surveys" / corpus_key(corpus)[:KEY_CHARS]
    try:
        return _open_survey(place, corpus)
    except ValueError:
        shutil.rmtree(place, ignore_errors=True)
    found = survey_corpus(corpus, workers, on_progress)
    place.mkdir(parents=True)
    for number, hashes in enumerate(found.hashes):
        with ArrayWriter(place / f"hashes_{number}", np.uint64) as writer:
            writer.append(hashes)
    write_checksummed_json(place / "survey.json", {"chars_ratio": found.chars_ratio})
    return _open_survey(place, corpus)


def _open_survey(place: Path, corpus: Corpus) -> Survey:
    hashes = [open_array(place / f"hashes_{number}", check=True) for number in range(len(corpus.columns))]
    try:
        chars_ratio = float(read_checksummed_json(place / "survey.json")["chars_ratio"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place}: holds no whole survey ({error}).") from error
    return Survey(corpus, hashes, chars_ratio)
