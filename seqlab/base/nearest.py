"""The nearest known name to an unknown one, for error messages."""

import difflib
from collections.abc import Iterable

MIN_SIMILARITY = 0.6
"""Ratio of matching characters (`difflib`), below which two names are not alike."""


def nearest_name(name: str, known: Iterable[str], min_similarity: float = MIN_SIMILARITY) -> str | None:
    """Return the known name that is spelled most like `name`; None where none is near."""
    return next(iter(nearest_names(name, known, 1, min_similarity)), None)


def nearest_names(name: str, known: Iterable[str], count: int, min_similarity: float = MIN_SIMILARITY) -> list[str]:
    """Return up to `count` known names that are spelled like `name`, the nearest first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=min_similarity)


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Name the nearest known name, as the end of a message: "; the nearest is `beam`". Empty where none is near."""
    nearest = nearest_name(name, known)
    return "" if nearest is None else f"; the nearest is `{nearest}`"
