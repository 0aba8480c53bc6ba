"""Plain messages for values that pydantic refuses."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from seqlab.base.bounds import MIN_POSITIVE
from seqlab.base.nearest import nearest_hint


def describe_invalid_value(key: str, details: Mapping[str, Any]) -> str:
    """Return a message for a value, given one of pydantic's errors: "`beam_size` must be at least 1, but is 0 instead."

    Args:
        key: dotted key of the value; may be empty.
        details: an entry of `ValidationError.errors()`.
    """
    kind, text = details["type"], details["msg"]
    if kind == "missing":
        return f"`{key}` is missing: it has no default."
    if kind in ("value_error", "assertion_error"):
        text = text.partition(", ")[2]  # pydantic prepends "Value error, " to a validator's message
        return f"`{key}`: {text}" if key else text
    if kind in ("dataclass_type", "model_attributes_type"):
        return f"`{key or 'the config'}` must be a section with fields, but is {details['input']!r} instead."
    required = text.removeprefix("Input should be ").partition(", unable")[0]
    shown, nearest = reprlib.repr(details["input"]), ""
    if kind in ("greater_than_equal", "less_than_equal"):
        [bound] = details["ctx"].values()
        side, style = "least" if kind.startswith("greater") else "most", ",.0f" if 1e4 < bound < 1e15 else "g"
        required = f"at {side} {bound:{style}}"
        if str(details["input"]).strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            required = "a finite number"
        elif bound == MIN_POSITIVE:
            required = "above 0"
        shown = shown.strip("'")  # the number may be text
    if kind == "literal_error":
        nearest = nearest_hint(str(details["input"]), re.findall("'(.+?)'", required))
    return f"`{key}` must be {required}, but is {shown} instead{nearest}."
