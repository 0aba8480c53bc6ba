"""Suggestion of the known name that is most similar to an unknown one, for error messages."""

import difflib
from collections.abc import Iterable

MIN_SIMILARITY = 0.65
"""Minimum share of matching characters (`difflib`) of a suggested name."""
MIN_BEGINNING = 3
"""Minimum length of an abbreviation, the beginning of a suggested name."""


def nearest_name(name: str, known: Iterable[str], min_similarity: float = MIN_SIMILARITY) -> str | None:
    """Return the known name with the most similar spelling, or the only one that begins so; None if there is none."""
    names = list(known)
    longer = [candidate for candidate in names if candidate.startswith(name)] if len(name) >= MIN_BEGINNING else []
    abbreviated = longer if len(longer) == 1 else []
    return next(iter([*nearest_names(name, names, 1, min_similarity), *abbreviated]), None)


def nearest_names(name: str, known: Iterable[str], count: int, min_similarity: float = MIN_SIMILARITY) -> list[str]:
    """Return up to `count` known names with a similar spelling, the most similar first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=min_similarity)


def nearest_hint(name: str, known: Iterable[str], min_similarity: float = MIN_SIMILARITY) -> str:
    """Return the end of a message that suggests a name, "; the nearest is `beam`"; empty if no name is similar."""
    nearest = nearest_name(name, known, min_similarity)
    return "" if nearest is None else f"; the nearest is `{nearest}`"
