"""Warnings about validation items that do not occur in the training data: locations, and limits of both numbers."""

from types import SimpleNamespace
from typing import Any

import pytest

from seqlab.training.validation import MAX_ITEMS_SHOWN, MAX_LOCATIONS_SHOWN, warn_of_unseen


def warnings_of(lines: list[str], caplog: pytest.LogCaptureFixture) -> list[str]:
    valid: Any = SimpleNamespace(locate=lambda index: f"line {index + 1}")
    text: Any = SimpleNamespace(texts=lambda: lines)
    warn_of_unseen(valid, text, str.split, "There is %r")
    return [record.getMessage() for record in caplog.records]


def test_each_item_is_named_once_with_its_first_locations(caplog: pytest.LogCaptureFixture) -> None:
    messages = warnings_of(["a a", "b", *["a"] * MAX_LOCATIONS_SHOWN], caplog)
    assert messages == ["There is 'a': line 1; line 3; line 4 and 1 more.", "There is 'b': line 2."]


def test_items_beyond_the_limit_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    messages = warnings_of([f"item{index}" for index in range(MAX_ITEMS_SHOWN + 5)], caplog)
    assert len(messages) == MAX_ITEMS_SHOWN + 1
    assert messages[-1].startswith("5 more items")
