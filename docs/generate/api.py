"""Reference pages of the Python API: mkdocstrings renders the docstrings of the public names."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_type_hints

from pydantic.dataclasses import is_pydantic_dataclass

from generate.markup import paragraphs, table
from seqlab.registry import Parts

FOLDER = "reference/api"
EXPORTED: dict[str, str] = {
    "seqlab": "train, load, evaluate, choose a config, register a part",
    "seqlab.data": "batches, columns and the data section of a config",
    "seqlab.models": "architectures, their configs, and the protocols of models",
    "seqlab.nn": "layers and masks",
    "seqlab.objectives": "losses",
    "seqlab.optim": "optimizers and schedules",
    "seqlab.search": "greedy search, beam search, sampling, CTC search, mask-predict",
    "seqlab.evaluation": "metrics and significance tests",
    "seqlab.text": "tokenizers and vocabularies",
    "seqlab.runs": "configs and run folders",
    "seqlab.training": "training from Python",
    "seqlab.testing": "checks of custom models, step functions and objectives",
    "seqlab.inference": "engines and batched decoding",
    "seqlab.export": "export to other engines",
}
"""Package -> summary. All exported names are documented."""
GROUPS: dict[str, Callable[[Any], bool]] = {
    "Functions": inspect.isfunction,
    "Protocols": lambda value: getattr(value, "_is_protocol", False),
    "Configs": lambda value: inspect.isclass(value) and is_pydantic_dataclass(value),
    "Classes": inspect.isclass,
    "Constants and types": lambda _: True,
}
"""Heading -> predicate of its values. A value is listed under the first heading whose predicate holds."""
PLUGIN_SOURCES = ("examples/*.py", "tests/plugin/**/*.py", "docs/**/*.md")
"""Files whose imports determine the names on the page for plugin authors."""
IMPORT = re.compile(r"^from (seqlab\.[\w.]+) import ([\w, ]+)$", re.MULTILINE)


def pages(root: Path) -> dict[str, str]:
    """Return the pages by path: one for each package, one for runs, one for plugins, and their index."""
    found = {f"{FOLDER}/README.md": index()}
    for package in EXPORTED:
        text = inspect.getdoc(importlib.import_module(package)) or ""
        found[f"{FOLDER}/{package}.md"] = "\n\n".join([f"# {package}", paragraphs(text), *grouped_entries(package)])
    found[f"{FOLDER}/runs.md"] = runs()
    found[f"{FOLDER}/plugins.md"] = plugins(root)
    return found


def index() -> str:
    """Return the index of the pages."""
    rows = [(f"[`{package}`]({package}.md)", text) for package, text in EXPORTED.items()]
    rows.append(
        ("[loaded runs](runs.md)", "the classes that `seqlab.load` returns: `translate`, `label`, `predict`, ...")
    )
    rows.append(
        (
            "[plugins and examples](plugins.md)",
            "names from other modules: tasks, commands, export formats, ...",
        )
    )
    text = "Public names, from their docstrings. Names that are not on these pages may change without notice."
    return "\n\n".join(["# Python", text, table(["page", "content"], rows)])


def runs() -> str:
    """Return the page of the classes that `seqlab.load` returns: the return types of the tasks' loaders."""
    text = "`seqlab.load(run_dir)` returns one of these classes, chosen by the task of the run."
    sections = ["# Loaded runs", text, "## Classes"]
    for config in Parts("task").values():
        found = get_type_hints(resolve_name(config.loader_name))["return"]
        options = "\n    options:\n      inherited_members: true"
        sections.append(directive(f"{found.__module__}.{found.__qualname__}") + options)
    return "\n\n".join(sections)


def plugins(root: Path) -> str:
    """Return the page of names that examples, pages and the tests' plugin import, but no package exports."""
    found: dict[str, set[str]] = {}
    for path in (path for pattern in PLUGIN_SOURCES for path in root.glob(pattern)):
        for module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
            found.setdefault(module, set()).update(name.strip() for name in names.split(","))
    link = "[custom parts](../../how_to/your_own_parts.md)"
    sections = ["# Plugins and examples", f"Names of other modules that plugins and examples import; see {link}."]
    for module in sorted(found.keys() - EXPORTED.keys()):
        names = [name for name in sorted(found[module]) if is_for_plugins(f"{module}.{name}")]
        if names:
            sections += [f"## {module}", *(directive(f"{module}.{name}") for name in names)]
    return "\n\n".join(sections)


def is_for_plugins(path: str) -> bool:
    """Return whether a name is a class or a function, has a docstring, and is not exported by any package."""
    value = resolve_name(path)
    is_described = (inspect.isclass(value) or inspect.isfunction(value)) and value.__doc__
    exports = (getattr(resolve_name(package), name) for package in EXPORTED for name in exported(package))
    return bool(is_described) and all(value is not other for other in exports)


def grouped_entries(package: str) -> Iterator[str]:
    """Yield the headings and entries of a package's names, by group."""
    module = importlib.import_module(package)
    groups: dict[str, list[str]] = {heading: [] for heading in GROUPS}
    for name in exported(package):
        value = getattr(module, name)
        groups[next(heading for heading, is_member in GROUPS.items() if is_member(value))].append(name)
    for heading, names in groups.items():
        if names:
            yield f"## {heading}"
            yield from (directive(f"{package}.{name}") for name in names)


def directive(path: str) -> str:
    """Return the mkdocstrings directive that documents a name under its public path."""
    return f"::: {path}"


@cache
def exported(package: str) -> tuple[str, ...]:
    """Return the names that a package exports, in alphabetical order, without its subpackages."""
    module = importlib.import_module(package)
    return tuple(sorted(name for name in module.__all__ if not inspect.ismodule(getattr(module, name))))


def is_documented(path: str) -> bool:
    """Return whether a name has an entry on one of the pages."""
    module, _, name = path.rpartition(".")
    return module in EXPORTED and name in exported(module)
