"""Decorator of classes of settings: validated by pydantic, with errors in plain words."""

import dataclasses
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import Field, ValidationError

from seqlab.base.invalid_values import describe_invalid_value
from seqlab.base.nearest import nearest_hint

T = TypeVar("T")


@dataclass_transform(field_specifiers=(dataclasses.field, Field))
def dataclass(**options: Any) -> Callable[[type[T]], type[T]]:
    """Decorate a class as `pydantic.dataclasses.dataclass` does; its constructor raises plain ValueErrors."""
    return lambda config: with_plain_errors(pydantic.dataclasses.dataclass(**options)(config))


def with_plain_errors(config: type[T]) -> type[T]:
    """Let a pydantic dataclass raise ValueError with a plain message when a program constructs it."""
    initialize = config.__init__

    @wraps(initialize)
    def __init__(self: T, *arguments: Any, **values: Any) -> None:
        try:
            initialize(self, *arguments, **values)
        except ValidationError as error:
            details = error.errors(include_url=False)[0]
            key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]).lstrip(".")
            if details["type"] == "unexpected_keyword_argument":
                hint = nearest_hint(key, config.__dataclass_fields__)  # type: ignore[attr-defined]
                raise ValueError(f"There is no `{key}`{hint}.") from None
            raise ValueError(describe_invalid_value(key, details)) from None

    config.__init__ = __init__  # type: ignore[method-assign, assignment]
    return config
