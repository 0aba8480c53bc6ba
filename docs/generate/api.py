"""Reference pages of the Python API: mkdocstrings renders the docstrings of the public names."""

import importlib
import inspect
from functools import cache
from typing import get_type_hints

from generate.markup import paragraphs, table
from seqlab.registry import Parts, import_target

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
    "seqlab.inference": "engines and batched decoding",
    "seqlab.export": "export to other engines",
}
"""Package -> what it is for. All names that it exports are documented."""
PLUGINS: dict[str, tuple[str, ...]] = {
    "seqlab.commands": ("Command", "AsOption", "AsArgument", "UsageError"),
    "seqlab.training.task": ("Task",),
    "seqlab.runs.codecs": ("Codec", "save_codec", "load_codecs"),
    "seqlab.export.formats": ("ExportFormat",),
    "seqlab.models.predictor": ("Shape", "Size"),
}
"""What else the authors of plugins import."""


def pages() -> dict[str, str]:
    """Write a page for each package, one for runs, one for plugins, and their index."""
    found = {f"{FOLDER}/README.md": index()}
    for package in EXPORTED:
        text = inspect.getdoc(importlib.import_module(package)) or ""
        names = [directive(f"{package}.{name}") for name in exported(package)]
        found[f"{FOLDER}/{package}.md"] = "\n\n".join([f"# {package}", paragraphs(text), *names])
    found[f"{FOLDER}/runs.md"] = runs()
    found[f"{FOLDER}/plugins.md"] = plugins()
    return found


def index() -> str:
    """List the pages."""
    rows = [(f"[`{package}`]({package}.md)", text) for package, text in EXPORTED.items()]
    rows.append(("[loaded runs](runs.md)", "what `seqlab.load` returns: `translate`, `label`, `predict`, ..."))
    rows.append(("[for plugins](plugins.md)", "tasks, codecs, commands and export formats of your own"))
    text = "Public names, from their docstrings. What these pages do not list may change without notice."
    return "\n\n".join(["# Python", text, table(["page", "content"], rows)])


def runs() -> str:
    """Write the page of the classes that `seqlab.load` returns: the return types of the tasks' loaders."""
    parts = ["# Loaded runs", "`seqlab.load(run_dir)` returns one of these classes, chosen by the task of the run."]
    for config in Parts("task").values():
        found = get_type_hints(import_target(config.loader_name))["return"]
        parts.append(
            f"{directive(f'{found.__module__}.{found.__qualname__}')}\n    options:\n      inherited_members: true"
        )
    return "\n\n".join(parts)


def plugins() -> str:
    """Write the page of `PLUGINS`."""
    link = "[your own parts](../../how_to/your_own_parts.md)"
    text = f"Names beside those of the packages that parts of your own need: see {link}."
    names = [directive(f"{module}.{name}") for module, names in PLUGINS.items() for name in names]
    return "\n\n".join(["# For plugins", text, *names])


def directive(path: str) -> str:
    """Let mkdocstrings document a name under its public path."""
    return f"::: {path}"


@cache
def exported(package: str) -> tuple[str, ...]:
    """Return the names that a package exports, in alphabetical order, without its subpackages."""
    module = importlib.import_module(package)
    return tuple(sorted(name for name in module.__all__ if not inspect.ismodule(getattr(module, name))))


def is_documented(path: str) -> bool:
    """Tell whether a name has an entry on one of the pages."""
    module, _, name = path.rpartition(".")
    return (module in EXPORTED and name in exported(module)) or name in PLUGINS.get(module, ())
