"""Paths as arguments of public functions: strings are accepted, too."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import seqlab
from seqlab.corpora.number_words import write
from seqlab.recipes import number_words
from seqlab.runs import RunFolder, config_from_yaml
from seqlab.runs.config import write_config
from seqlab.text import CharactersConfig, load_tokenizer, train_tokenizer


def public_functions() -> Iterator[tuple[str, Any]]:
    """Yield the functions, methods and constructors that packages export in `__all__`."""
    for module_info in [None, *pkgutil.walk_packages(seqlab.__path__, "seqlab.")]:
        if module_info is not None and not module_info.ispkg:
            continue
        module = seqlab if module_info is None else importlib.import_module(module_info.name)
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isclass(value):
                methods = inspect.getmembers(value, inspect.isfunction)
                yield from ((f"{name}.{key}", method) for key, method in methods if key == "__init__" or key[0] != "_")
            elif inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value


def test_no_public_function_is_annotated_with_path_only() -> None:
    only_paths = [
        f"{name}({parameter.name})"
        for name, function in public_functions()
        for parameter in inspect.signature(function).parameters.values()
        if parameter.annotation in (Path, "Path", Path | None, "Path | None")
    ]
    assert not only_paths
    assert sum(1 for _ in public_functions()) > 50


def test_functions_accept_paths_as_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = number_words("runs/number_words")
    write_config(config, "config.yaml")
    assert config_from_yaml("config.yaml") == config
    assert RunFolder("runs/number_words").data.is_dir()
    assert write("again")["train"]["en"].is_file()
    tokenizer = train_tokenizer(CharactersConfig(), ["abc"])
    tokenizer.save("tokenizer")
    assert load_tokenizer("tokenizer").vocab_size == tokenizer.vocab_size
