"""Results as JSON, one object in a line."""

import json
import math
from typing import Any


def json_line(values: dict[str, Any]) -> str:
    """Write an object; a number that JSON does not have, such as the logarithm of 0, is null."""
    return json.dumps(_without_infinities(values), ensure_ascii=False, allow_nan=False)


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_infinities(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinities(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
