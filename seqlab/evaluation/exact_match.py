"""Metrics of lines: exact match, and lines that contain the reference."""

import unicodedata
from collections.abc import Sequence

import numpy as np

from .score import LineStatistics, References, Score, num_references


def exact_match(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute exact match: the percentage of hypotheses that equal one of their references.

    Strings are compared without normalization of case, space, punctuation or Unicode form.
    """
    rows = np.array(
        [[hypothesis in line_refs, 1] for hypothesis, *line_refs in zip(hypotheses, *references, strict=True)],
        dtype=int,
    )
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:line|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, lines = summed.tolist()
        return Score("exact_match", 100 * correct / lines, signature, True, {"correct": correct, "lines": lines})

    return LineStatistics(rows, score_of_sum)


def contains(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the percentage of hypotheses that contain the words of one of their references consecutively.

    It is for names, numbers and terms that must appear word for word. Words are compared without punctuation at their
    ends, and with no other normalization. Lines without a word in any reference are not counted.

    Raises:
        ValueError: no line has a reference with words.
    """
    counts = []
    for hypothesis, *line_refs in zip(hypotheses, *references, strict=True):
        words, refs = _words(hypothesis), [ref for line_ref in line_refs if (ref := _words(line_ref or ""))]
        counts.append([any(_is_contained(ref, words) for ref in refs), bool(refs)])
    rows = np.array(counts, dtype=int)
    if not rows[:, 1].any():
        raise ValueError(
            "`contains` needs references with at least one word, but all reference lines are without words."
        )
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:line|norm:punctuation"

    def score_of_sum(summed: np.ndarray) -> Score:
        matches, lines = summed.tolist()
        return Score("contains", 100 * matches / max(1, lines), signature, True, {"holding": matches, "lines": lines})

    return LineStatistics(rows, score_of_sum)


def _words(line: str) -> list[str]:
    """Split at whitespace and strip punctuation from both ends of each word; words of only punctuation are dropped."""
    stripped = (word.strip(_ASCII_PUNCTUATION) if word.isascii() else _strip(word) for word in line.split())
    return [word for word in stripped if word]


_ASCII_PUNCTUATION = ".,;:!?\"'()[]{}"  # without the signs of words such as C# and 5%


def _strip(word: str) -> str:
    """Strip punctuation of all scripts from both ends of a word."""
    is_kept = [
        character not in _ASCII_PUNCTUATION and (character.isascii() or unicodedata.category(character)[0] != "P")
        for character in word
    ]
    if True not in is_kept:
        return ""
    return word[is_kept.index(True) : len(word) - is_kept[::-1].index(True)]


def _is_contained(phrase: Sequence[str], words: Sequence[str]) -> bool:
    starts = range(len(words) - len(phrase) + 1)
    return any(list(words[start : start + len(phrase)]) == phrase for start in starts)
