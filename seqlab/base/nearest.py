"""Suggestion of the known name that is most similar to an unknown one, for error messages."""

import difflib
from collections.abc import Iterable

MIN_SIMILARITY = 0.6
"""Minimum share of matching characters (`difflib`) of a suggested name."""


def nearest_name(name: str, known: Iterable[str], min_similarity: float = MIN_SIMILARITY) -> str | None:
    """Return the known name with the most similar spelling; None if none is similar."""
    return next(iter(nearest_names(name, known, 1, min_similarity)), None)


def nearest_names(name: str, known: Iterable[str], count: int, min_similarity: float = MIN_SIMILARITY) -> list[str]:
    """Return up to `count` known names with a similar spelling, the most similar first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=min_similarity)


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that suggests a name, "; the nearest is `beam`"; empty if no name is similar."""
    nearest = nearest_name(name, known)
    return "" if nearest is None else f"; the nearest is `{nearest}`"
