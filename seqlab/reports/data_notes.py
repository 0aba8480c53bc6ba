"""Notes on the health of the data, from the data report in run.json."""

from collections.abc import Iterator, Mapping
from typing import Any


def data_notes(report: Mapping[str, Any]) -> list[str]:
    """Return sentences about what a data report found: overlap of the splits, duplicates, dropped rows, and so on.

    Reports of other tasks have other entries: an entry that is missing gives no sentence.
    """
    return [*_overlap_notes(report), *_corpus_notes(report), *_reading_notes(report)]


def _overlap_notes(report: Mapping[str, Any]) -> Iterator[str]:
    for overlap in report.get("overlaps", []):
        if count := overlap["rows_in_train"]:
            yield f"{overlap['split']}: {count:,} of {overlap['rows']:,} rows also occur in the training data."
    if count := report.get("unseen", 0):
        yield f"{count:,} validation examples have a class that is not in the training data."


def _corpus_notes(report: Mapping[str, Any]) -> Iterator[str]:
    for corpus in report.get("corpora", []):
        rows, split = corpus.get("rows"), corpus.get("split")
        if not rows:
            continue
        for reason, count in corpus.get("dropped", {}).items():
            yield f"{split}: {count:,} of {rows:,} rows were dropped ({reason.replace('_', ' ')})."
        if count := corpus.get("duplicates"):
            yield f"{split}: {count:,} of {rows:,} rows repeat an earlier one."
        if count := corpus.get("copies"):
            yield f"{split}: {count:,} of {rows:,} rows have a target that equals the source."


def _reading_notes(report: Mapping[str, Any]) -> Iterator[str]:
    for note in report.get("reading", []):
        if isinstance(note, dict) and "text" in note:
            yield f"{note.get('count', '')} {note['text']}".strip() + "."
