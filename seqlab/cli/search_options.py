"""The fields of a config of `search/` as options."""

import argparse
from collections.abc import Container
from dataclasses import asdict, fields
from typing import Any

from seqlab.cli.parser import Parser


def add_fields(parser: Parser, title: str, config: type, known: Container[str] = ()) -> None:
    """Add one option for each field of a config that is not `known`, with its docstring; a value stays text."""
    group = parser.add_argument_group(title)
    for name, field in config.__pydantic_fields__.items():  # type: ignore[attr-defined]
        if name not in known:
            shown = "null" if field.default is None else field.default
            text = f"{' '.join(field.description.split())} (default: {shown})".replace("%", "%%")
            group.add_argument(f"--{name}", metavar="VALUE", help=text)


def given_fields(arguments: argparse.Namespace, config: type) -> dict[str, str]:
    """Return the fields of a config that the command line gives, as text."""
    given = {field.name: getattr(arguments, field.name, None) for field in fields(config)}
    return {name: value for name, value in given.items() if value is not None}


def add_search_options(parser: Parser, known: Container[str] = ()) -> None:
    """Add the fields of SearchConfig that are not `known`."""
    from seqlab.search.config import SearchConfig

    add_fields(parser, "search", SearchConfig, known)


def search_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of all fields of SearchConfig, checked; raises ValueError naming the option."""
    from seqlab.runs.validate import build
    from seqlab.search.config import SearchConfig

    return asdict(build(SearchConfig, given_fields(arguments, SearchConfig)))
