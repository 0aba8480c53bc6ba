"""JSON of files and outputs: valid everywhere, although JSON has no NaN and no infinite numbers."""

import json
import math
from collections.abc import Callable
from typing import Any


def json_text(value: Any, **options: Any) -> str:
    """Format a value as `json.dumps` does, with its options; a number that is not finite becomes null."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(replace_non_finite(value), allow_nan=False, **options)


def replace_non_finite(value: Any, replacement: Callable[[float], Any] = lambda number: None) -> Any:
    """Replace NaN and infinite numbers in nested dicts, lists and tuples.

    By `str`, they become texts, which `seqlab.base.parsing.validate_type` reads as the same numbers.
    """
    if isinstance(value, dict):
        return {name: replace_non_finite(member, replacement) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(member, replacement) for member in value]
    return replacement(value) if isinstance(value, float) and not math.isfinite(value) else value
