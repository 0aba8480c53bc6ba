"""The fields of SearchConfig as options, read from its source: importing it would load torch only to print help."""

import argparse
import ast
from importlib.resources import files
from itertools import pairwise
from typing import Any

from seqlab.cli.parser import Parser


def add_search_options(parser: Parser) -> None:
    """Add one option for each field, with its docstring; a value stays text for pydantic to read."""
    group = parser.add_argument_group("search")
    for name, default, text in search_fields():
        group.add_argument(f"--{name}", metavar="VALUE", help=f"{text} (default: {default})".replace("%", "%%"))


def search_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of all fields of SearchConfig, checked; raises ValueError naming the option."""
    from dataclasses import asdict

    from seqlab.runs.validate import build
    from seqlab.search import SearchConfig

    given = {name: getattr(arguments, name) for name, _, _ in search_fields()}
    return asdict(build(SearchConfig, {name: value for name, value in given.items() if value is not None}))


def search_fields() -> list[tuple[str, str, str]]:
    """Return (name, default, docstring) of each field."""
    source = (files("seqlab") / "search" / "config.py").read_text(encoding="utf-8")
    body = next(node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return [
        (field.target.id, str(ast.literal_eval(field.value)), " ".join(str(text.value.value).split()))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and field.value is not None
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    ]
