"""Several references of a line: the first is always there, further ones may be missing."""

from collections.abc import Sequence

References = Sequence[Sequence[str | None]]
"""One list of lines for each reference file; None where a line has no such reference."""


def without_empty(references: Sequence[Sequence[str]]) -> References:
    """Take the empty lines of all files but the first for missing, so that not all lines need equally many."""
    first, *further = references
    return [first, *([line if line.strip() else None for line in lines] for lines in further)]


def num_references(references: References) -> str:
    """Return how many references the lines have as sacrebleu's signatures say it: `var` where some have more."""
    counts = {len(of_line) - of_line.count(None) for of_line in zip(*references, strict=True)}
    return str(counts.pop()) if len(counts) == 1 else "var"
