"""Classes of settings that programs construct raise plain errors: no word of pydantic."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest

import seqlab


def config_classes() -> Iterator[type]:
    """Yield the validated dataclasses of all modules that a program may import."""
    for info in pkgutil.walk_packages(seqlab.__path__, "seqlab."):
        if info.name.endswith("__main__") or info.name.startswith("seqlab.corpora."):
            continue
        for value in vars(importlib.import_module(info.name)).values():
            is_checked = "__pydantic_validator__" in getattr(value, "__dict__", ())
            if is_checked and is_dataclass(value) and value.__module__ == info.name:
                yield value


def test_all_classes_of_settings_raise_plain_errors() -> None:
    found = set(config_classes())
    assert len(found) > 120
    for config in found:
        values = {field.name: object() for field in fields(config) if field.init}
        for wrong in ({"no_such_field": 1}, values):
            if wrong:
                with pytest.raises(ValueError, match="`") as error:
                    config(**wrong)
                assert type(error.value) is ValueError, config
                assert "pydantic" not in str(error.value), config
                assert "Input should" not in str(error.value), config
