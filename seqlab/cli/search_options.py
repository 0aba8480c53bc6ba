"""The fields of SearchConfig as options."""

import argparse
from dataclasses import asdict, fields
from typing import Any

from seqlab.cli.parser import Parser


def add_search_options(parser: Parser) -> None:
    """Add one option for each field, with its docstring; a value stays text for pydantic to read."""
    from seqlab.search.config import SearchConfig

    group = parser.add_argument_group("search")
    described = SearchConfig.__pydantic_fields__  # type: ignore[attr-defined]
    for name, field in described.items():
        text = f"{' '.join(field.description.split())} (default: {field.default})".replace("%", "%%")
        group.add_argument(f"--{name}", metavar="VALUE", help=text)


def search_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of all fields of SearchConfig, checked; raises ValueError naming the option."""
    from seqlab.runs.validate import build
    from seqlab.search.config import SearchConfig

    given = {field.name: getattr(arguments, field.name) for field in fields(SearchConfig)}
    return asdict(build(SearchConfig, {name: value for name, value in given.items() if value is not None}))
