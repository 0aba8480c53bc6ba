"""Error analysis: scores by group (such as speakers), and alignments of the lines with the most errors."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .edits import ERROR_RATES, Edits, ErrorRate, align
from .metrics import check_metric_names, line_statistics
from .score import LineStatistics, Score, check_line_counts, without_empty_references

COUNTS = {"length": "N", "substitutions": "S", "deletions": "D", "insertions": "I"}
"""Columns of counts in a table of error rates: name of the count -> column title."""
NO_GROUP = "(none)"
"""Title of the group without a name."""
MAX_WIDTH = 100
"""Width of an alignment in terminal columns, at which it is wrapped."""


@dataclass(frozen=True)
class GroupScore:
    """Score of a group of lines."""

    group: str
    num_lines: int
    score: Score

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with the value unrounded."""
        return {"group": self.group, "lines": self.num_lines, "value": self.score.value, **self.score.extra}


@dataclass(frozen=True)
class ErrorTable:
    """Score of each group of lines, and of all lines."""

    groups: tuple[GroupScore, ...]
    """Sorted by name."""
    total: GroupScore

    def lines(self) -> list[str]:
        """Render as a table: group, number of lines, score, and for error rates N, S, D and I; last the total."""
        score = self.total.score
        counts = {key: title for key, title in COUNTS.items() if key in score.extra}
        rows = [["group", "lines", score.name, *counts.values()]]
        for group in (*self.groups, self.total):
            value = f"{group.score.value:.{score.decimals}f}"
            rows.append(
                [group.group or NO_GROUP, str(group.num_lines), value, *(str(group.score.extra[k]) for k in counts)]
            )
        widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([_pad(name, widths[0]), *map(str.rjust, numbers, widths[1:])]) for name, *numbers in rows]

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with values unrounded."""
        total = self.total.as_dict()
        del total["group"]
        return {"groups": [group.as_dict() for group in self.groups], "total": total}


def error_table(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], groups: Sequence[str], metric: str = "wer"
) -> ErrorTable:
    """Score each group of lines separately: `error_table(transcripts, [truth], speakers).lines()`.

    Args:
        hypotheses: the system's lines.
        references: one list of lines for each reference file; empty lines after the first list mean missing references.
        groups: name of the group of each line.
        metric: a name from `METRICS`.

    Raises:
        ValueError: unequal line counts (the message names both), no lines, or an unknown metric.
    """
    check_line_counts(hypotheses, references)
    [name] = check_metric_names(metric)
    return error_table_from_statistics(line_statistics(name, hypotheses, references), groups)


def error_table_from_statistics(counted: LineStatistics, groups: Sequence[str]) -> ErrorTable:
    """Score each group of lines from a metric's statistics of the lines; errors as for `error_table`."""
    if len(groups) != len(counted.rows):
        raise ValueError(f"Each line needs a group, but there are {len(counted.rows)} lines and {len(groups)} groups.")
    group_lines: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        group_lines.setdefault(group, []).append(index)
    scored = (
        GroupScore(group, len(lines), counted.score_of(np.array(lines))) for group, lines in sorted(group_lines.items())
    )
    return ErrorTable(tuple(scored), GroupScore("total", len(groups), counted.score()))


@dataclass(frozen=True)
class AlignedLine:
    """A hypothesis aligned with its nearest reference."""

    index: int
    """Index of the line, from 0."""
    rate: ErrorRate
    edits: Edits
    pairs: tuple[tuple[str | None, str | None], ...]
    """Aligned tokens of the reference and the hypothesis; None for an insertion or a deletion."""

    def text(self, side: int) -> str:
        """Return the reference (0) or the hypothesis (1)."""
        return self.rate.separator.join(token for pair in self.pairs if (token := pair[side]) is not None)

    def lines(self, location: str | None = None) -> list[str]:
        """Render as a heading, the reference, the hypothesis and marks of the errors, one below the other.

        Args:
            location: location of the line, for the heading; default: its number.
        """
        counts = ", ".join(f"{title} {self.edits._asdict()[key]}" for key, title in COUNTS.items())
        heading = f"{location or f'line {self.index + 1}'}: {counts}"
        return [heading, *_render_alignment(self.pairs, self.rate.separator)]

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON: lines are numbered from 1; null is the partner of a deleted or inserted token."""
        return {
            "line": self.index + 1,
            **self.edits._asdict(),
            "reference": self.text(0),
            "hypothesis": self.text(1),
            "alignment": [list(pair) for pair in self.pairs],
        }


def worst_lines(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    count: int,
    metric: str = "wer",
    *,
    counted: LineStatistics | None = None,
) -> list[AlignedLine]:
    """Return the lines with the most errors, most errors first; ties stay in order, lines without errors are left out.

    Args:
        hypotheses: as for `error_table`.
        references: as for `error_table`.
        count: maximum number of lines.
        metric: `wer` or `cer`.
        counted: the metric's statistics of the lines, if already computed.

    Raises:
        ValueError: unequal line counts (the message names both), no lines, another metric, or `count` below 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, but is {count} instead.")
    if metric not in ERROR_RATES:
        raise ValueError(f"`metric` must be one of {', '.join(ERROR_RATES)}, but is {metric!r} instead.")
    check_line_counts(hypotheses, references)
    rate, present = ERROR_RATES[metric], without_empty_references(references)
    rows = (counted or rate.statistics(hypotheses, present, "none")).rows
    assert isinstance(rows, np.ndarray)
    errors = rows[:, :3].sum(1)
    worst = []
    for index in np.argsort(-errors, kind="stable")[:count].tolist():
        if errors[index]:
            edits, reference = rate.nearest(hypotheses[index], [lines[index] for lines in present])
            pairs = align(rate.split(reference), rate.split(hypotheses[index]))
            worst.append(AlignedLine(index, rate, edits, tuple(pairs)))
    return worst


def _render_alignment(pairs: Sequence[tuple[str | None, str | None]], separator: str) -> Iterator[str]:
    """Yield a REF line, a HYP line and a line of marks, wrapped at `MAX_WIDTH`."""
    gap = "***" if separator else "*"
    rows: list[list[str]] = [[], [], []]
    used = 0
    for reference, hypothesis in pairs:
        mark = "I" if reference is None else "D" if hypothesis is None else "S" if reference != hypothesis else ""
        cells = (gap if reference is None else reference, gap if hypothesis is None else hypothesis, mark)
        width = max(map(_width, cells))
        if used and used + width > MAX_WIDTH:
            yield from _join_cells(rows, separator)
            rows, used = [[], [], []], 0
        for row, cell in zip(rows, cells, strict=True):
            row.append(_pad(cell, width))
        used += width + len(separator)
    yield from _join_cells(rows, separator)


def _join_cells(rows: Sequence[Sequence[str]], separator: str) -> Iterator[str]:
    for name, row in zip(("REF: ", "HYP: ", "     "), rows, strict=True):
        yield (name + separator.join(row)).rstrip()


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return the width of a text in terminal columns: two for East Asian wide characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
