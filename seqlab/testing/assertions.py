"""Assertions of the checks, which also hold under `python -O`."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from seqlab.testing.random_examples import Examples


def require(condition: bool, message: str) -> None:
    """Raise AssertionError with a message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def require_close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Raise AssertionError if two tensors differ by more than a tolerance, or in any bit if it is 0."""
    shapes = tuple(actual.shape), tuple(expected.shape)
    require(shapes[0] == shapes[1], f"Shapes must be equal, but are {shapes[0]} and {shapes[1]}: {what}.")
    different = actual != expected  # equal infinities have no difference
    if not bool(different.any()):
        return
    difference = float((actual - expected)[different].abs().max())
    is_close = tolerance > 0 and difference <= tolerance
    bound = f"within {tolerance:g}" if tolerance else "bit for bit"
    require(is_close, f"They must be equal {bound}, but differ by up to {difference:.3g}: {what}.")


def require_examples(examples: Any) -> None:
    """Raise AssertionError unless the argument consists of examples, such as `token_pairs()`."""
    require(
        isinstance(examples, Examples),
        f"`examples` must be `Examples`, such as `token_pairs()`, but is of type {type(examples).__name__}.",
    )


def require_config(value: Any, name: str) -> None:
    """Raise AssertionError unless the argument `name` is a config: an object, not a class, with a method `build`."""
    kind = f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
    is_config = not isinstance(value, type | nn.Module) and hasattr(value, "build")
    require(is_config, f"`{name}` must be a config with a method `build`, but is {kind}.")


@contextmanager
def explaining_errors(what: str) -> Iterator[None]:
    """Raise errors of a part as AssertionError, with what was called."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        message = f"{what} raised {type(error).__name__}: {error}. Do the examples fit the part?"
        raise AssertionError(message) from error


@contextmanager
def unchanged(batch: Any) -> Iterator[None]:
    """Raise AssertionError if a batch is changed in place within this context."""
    before = copy.deepcopy(batch)
    yield
    for name in (item.name for item in fields(batch)) if is_dataclass(batch) else ():
        value, old = getattr(batch, name), getattr(before, name)
        if isinstance(value, Tensor):
            is_equal = (value == old) | ((value != value) & (old != old))  # NaN is a missing target
            require(bool(is_equal.all()), f"The model changes `{name}` of its batch in place: copy it first.")
