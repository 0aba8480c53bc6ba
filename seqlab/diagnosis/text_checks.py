"""Checks of text corpora: one function for each kind of finding, or for several that are computed together."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seqlab.diagnosis.alignment import Shift, align, align_tokens
from seqlab.diagnosis.data_findings import Hits
from seqlab.diagnosis.label_noise import NUM_FOLDS, label_ratios, min_ratio
from seqlab.diagnosis.languages import (
    MIN_RATIO_OF_COLUMNS,
    MIN_RATIO_OF_GROUPS,
    other_column_ratios,
    second_language_ratios,
)
from seqlab.diagnosis.near_duplicates import Hashes, first_of_equal, near_duplicates, shingles_of_texts
from seqlab.diagnosis.row_features import BagsOfTokens, OneHot, sample_indices
from seqlab.diagnosis.text_quality import character_fault, mojibake
from seqlab.diagnosis.text_rows import LenientColumn, TextRows, Texts

SAMPLE_ROWS, MIN_LINES_OF_CHARACTER = 20_000, 20
"""Number of rows whose characters are counted, and of those that must have a character so that it is a known one."""
MAX_LABELS = 200
MIN_ROWS_PER_LABEL = 10
SMOOTHING_CHARS = 10
"""Number of characters added to both lengths of a length ratio, as short lines have more extreme ratios."""
MAX_LENGTH_DEVIATION = 8.0
"""Deviation of the logarithm of a length ratio, in robust standard deviations, from which on it is reported."""
MAX_LENGTH_FACTOR = 2.5
"""Factor between a length ratio and the median, at least."""


def label_numbers(texts: Texts) -> NDArray[np.int64] | None:
    """Return the class number of each text, -1 for an empty one; None if the texts are not labels of lines.

    They are labels if there are few different ones, each a word without spaces.
    """
    values, first, inverse = np.unique(texts.hashes, return_index=True, return_inverse=True)
    if len(values) > min(MAX_LABELS, len(texts) / MIN_ROWS_PER_LABEL):
        return None
    if any(len(texts[row].split()) > 1 for row in first.tolist()):
        return None
    return np.where(texts.hashes == 0, -1, inverse)


def are_labels_of_words(rows: TextRows) -> bool:
    """Return whether nearly all targets have as many words as their sources, and most have several."""
    sample = sample_indices(len(rows), SAMPLE_ROWS).tolist()
    counts = np.array([[len(text.split()) for text in rows.texts(row)] for row in sample]).reshape(len(sample), -1)
    return len(counts) > 0 and bool((counts[:, 0] == counts[:, -1]).mean() > 0.99 and np.median(counts) > 1)


def check_encoding(rows: TextRows) -> Iterator[Hits]:
    """Find lines that are not UTF-8."""
    hits = {}
    start = 0
    for corpus, size in zip(rows.corpora, rows.sizes, strict=True):
        for column in corpus.columns:
            for line, note in (column.undecodable() if isinstance(column, LenientColumn) else {}).items():
                hits[start + line - 1] = (start + line - 1, 1.0, note)
        start += size
    yield Hits.of_notes("encoding", rows.split, hits.values())


def check_empty(rows: TextRows) -> Iterator[Hits]:
    """Find rows with an empty column."""
    yield Hits.of_mask("empty", rows.split, rows.is_empty, np.ones(len(rows)), lambda row: rows.show(row))


def check_duplicates(splits: Mapping[str, TextRows]) -> Iterator[Hits]:
    """Find rows that equal an earlier one of their split, and training rows in another split."""
    for split, rows in splits.items():
        first = first_of_equal(rows.hashes)
        is_copy = (first != np.arange(len(rows))) & ~rows.is_empty
        yield Hits.of_mask("duplicate", split, is_copy, np.ones(len(rows)), _note_equal(rows, rows, first))
    train = splits["train"]
    for other in (rows for split, rows in splits.items() if split != "train" and len(rows)):
        order = np.argsort(other.hashes, kind="stable")
        position = np.minimum(np.searchsorted(other.hashes[order], train.hashes), len(other) - 1)
        match = order[position]
        is_leak = (other.hashes[match] == train.hashes) & ~train.is_empty
        yield Hits.of_mask("leak", "train", is_leak, np.ones(len(train)), _note_equal(train, other, match))


def _note_equal(rows: TextRows, other: TextRows, match: NDArray[np.int64]) -> Callable[[int], str]:
    return lambda row: f"equal to {other.locate_from(rows, row, int(match[row]))}: {rows.show(row)}"


def check_near_duplicates(splits: Mapping[str, TextRows], with_targets: bool) -> Iterator[Hits]:
    """Find training rows that are nearly equal to an earlier one, or to a row of another split, but not equal."""
    train = splits["train"]
    parts = [rows for split, rows in splits.items() if split != "train"] + [train]
    index = [
        (part, row)
        for part, rows in enumerate(parts)
        for row in np.flatnonzero((first_of_equal(rows.hashes) == np.arange(len(rows))) & ~rows.is_empty).tolist()
    ]

    def shingles(start: int, stop: int) -> list[Hashes]:
        texts = (parts[part].texts(row) for part, row in index[start:stop])
        return shingles_of_texts(["\t".join(text if with_targets else text[:1]) for text in texts])

    by_kind: dict[str, list[tuple[int, float, str]]] = {"near_duplicate": [], "near_leak": []}
    for pair in near_duplicates(len(index), shingles):
        (part, row), (other, earlier) = index[pair.row], index[pair.earlier]
        if parts[part] is not train:
            continue
        if pair.similarity == 1.0 and train.hashes[row] == parts[other].hashes[earlier]:
            continue  # a leak
        kind = "near_duplicate" if parts[other] is train else "near_leak"
        where = f"{pair.similarity:.0%} like {parts[other].locate_from(train, row, earlier)}"
        by_kind[kind].append((row, pair.similarity, f"{where}: {train.show(row)} <> {parts[other].show(earlier)}"))
    yield from (Hits.of_notes(kind, "train", notes) for kind, notes in by_kind.items())


def check_characters(rows: TextRows) -> Iterator[Hits]:
    """Find mojibake, and replacement, invisible and escaped characters."""
    by_kind: dict[str, list[tuple[int, float, str]]] = {"mojibake": [], "character": []}
    known = _frequent_characters(rows)
    undecodable = {row for hits in check_encoding(rows) for row in hits.rows.tolist()}
    for row in range(len(rows)):
        for text in rows.texts(row):
            if text.isascii() and text.isprintable() and "&" not in text:
                continue
            if (original := mojibake(text, known)) is not None:
                by_kind["mojibake"].append((row, 1.0, f"{text:.60} was probably {original:.60}"))
            if row not in undecodable and (fault := character_fault(text)) is not None:
                by_kind["character"].append((row, 1.0, f"{fault}: {text:.60}"))
    for kind, notes in by_kind.items():
        yield Hits.of_notes(kind, rows.split, {row: (row, score, note) for row, score, note in notes}.values())


def _frequent_characters(rows: TextRows) -> set[str]:
    """Return the characters above Latin Extended-A that many lines of a sample have."""
    counts: Counter[str] = Counter()
    for column in rows.columns:
        for row in sample_indices(len(rows), SAMPLE_ROWS).tolist():
            counts.update({character for character in column[row] if character > "\u017f"})
    return {character for character, count in counts.items() if count >= MIN_LINES_OF_CHARACTER}


def check_languages(rows: TextRows, columns: Sequence[Texts]) -> Iterator[Hits]:
    """Find exchanged sides, and texts in another language than most of their column."""
    swap, unusual = language_scores(rows, columns)
    swapped = swap >= 1
    yield Hits.of_mask("swapped", rows.split, swapped, swap, rows.show)
    yield Hits.of_mask("language", rows.split, (unusual >= 1) & ~swapped, unusual, rows.show)


def language_scores(rows: TextRows, columns: Sequence[Texts]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute how clearly the sides of each row are exchanged, and how clearly a text is in another language, (N,).

    A score of 1 is that from which on a row is reported. Rows with an empty column or a wrong character have the score
    negative infinity.
    """
    usable = ~rows.is_empty
    for hits in check_characters(rows):
        usable[hits.rows] = False
    folds = (rows.columns[0].hashes % np.uint64(2)).astype(np.int64)
    unusual = [second_language_ratios(column, folds, usable) / MIN_RATIO_OF_GROUPS for column in columns]
    if len(columns) != 2:
        return np.full(len(rows), -np.inf), np.maximum.reduce(unusual)
    ratios = [ratio / MIN_RATIO_OF_COLUMNS for ratio in other_column_ratios(columns, folds, usable)]
    return np.minimum(*ratios), np.maximum.reduce([*unusual, *ratios])


def check_length_ratios(rows: TextRows) -> Iterator[Hits]:
    """Find pairs whose ratio of characters differs much from the median."""
    deviation = length_deviations(rows)
    yield Hits.of_mask(
        "length_ratio", rows.split, deviation >= MAX_LENGTH_DEVIATION, deviation, lambda row: (
            f"{len(rows.src[row])} and {len(rows.tgt[row])} characters: {rows.show(row)}"
        )
    )  # fmt: skip


def length_deviations(rows: TextRows) -> NDArray[np.float64]:
    """Compute the deviation of each log length ratio from the median; 0 for a factor below `MAX_LENGTH_FACTOR`."""
    src, tgt = (column.lengths + SMOOTHING_CHARS for column in (rows.src, rows.tgt))
    ratio = np.log(tgt / src)
    if not len(ratio):
        return np.zeros(0)
    difference = np.abs(ratio - np.median(ratio[~rows.is_empty] if (~rows.is_empty).any() else ratio))
    spread = max(1.4826 * float(np.median(difference)), 0.05)
    return np.where((difference >= np.log(MAX_LENGTH_FACTOR)) & ~rows.is_empty, difference / spread, 0.0)


def check_shift(rows: TextRows, labels: NDArray[np.int64] | None) -> Iterator[Hits]:
    """Find ranges of rows whose targets or labels belong to other sources."""
    for shift, start in find_shifts(rows, labels):
        first, stop = start + shift.start, start + shift.stop
        what = f"{abs(shift.offset)} target(s) {'missing' if shift.offset < 0 else 'too many'}"
        first_note = (
            f"{what} before or at this row; the pairs are shifted up to {rows.locate_from(rows, first, stop - 1)}"
        )
        scores = np.zeros(stop - first)
        scores[0] = shift.advantage
        yield Hits("shift", rows.split, np.arange(first, stop), scores, _note_shift(rows, first, first_note))


def _note_shift(rows: TextRows, first: int, first_note: str) -> Callable[[int], str]:
    return lambda number: rows.show(first + number) if number else first_note


def find_shifts(rows: TextRows, labels: NDArray[np.int64] | None) -> Iterator[tuple[Shift, int]]:
    """Yield the shifts within each corpus, with the index of the first row of the corpus."""
    start = 0
    for size in rows.sizes:
        src, tgt = (column.token_ids()[start : start + size] for column in (rows.src, rows.tgt))
        if labels is None:
            alignment = align_tokens(src, tgt)
        else:
            alignment = align(BagsOfTokens(src), OneHot(labels[start : start + size]))
        yield from ((shift, start) for shift in alignment.shifts())
        start += size


def check_labels(rows: TextRows, labels: NDArray[np.int64]) -> Iterator[Hits]:
    """Find inputs with several labels, and labels that contradict a simple model."""
    first = first_of_equal(rows.src.hashes)
    is_conflict = (labels != labels[first]) & (rows.src.hashes != 0)
    yield Hits.of_mask(
        "label_conflict", rows.split, is_conflict, np.ones(len(rows)), lambda row: (
            f"{rows.tgt[row]}, but {rows.tgt[int(first[row])]} in {rows.locate_from(rows, row, int(first[row]))}: "
            f"{rows.src[row]:.60}"
        )
    )  # fmt: skip
    folds = (rows.src.hashes % np.uint64(NUM_FOLDS)).astype(np.int64)
    ratios, best = label_ratios(BagsOfTokens(rows.src.token_ids()), labels, folds)
    names = {int(label): row for row, label in enumerate(labels.tolist())}
    yield Hits.of_mask(
        "label_noise", rows.split, ratios >= min_ratio(len(rows)), ratios, lambda row: (
            f"{rows.tgt[row]}, but rather {rows.tgt[names[int(best[row])]]}: {rows.src[row]:.80}"
        )
    )  # fmt: skip
