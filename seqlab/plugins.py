"""Plugins: modules and packages that add parts to the registry (see `seqlab.registry`).

A plugin is a module that registers parts at its import (`@seqlab.register`), or has a table `PARTS`: kind -> name ->
(`module:attribute`, summary). An installed package provides such a table by an entry point of the group
`seqlab.plugins`. The module of the table must not import torch, because `--help` and lists of parts import it. Other
plugins are loaded by `--plugin` or `seqlab.load(run, plugins=[...])`. A plugin runs code: reading a run or config never
imports one.
"""

import hashlib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from seqlab import registry
from seqlab.registry import Entry

logger = logging.getLogger(__name__)

_loaded_files: dict[Path, str] = {}
"""SHA-256 of each loaded file."""


class PluginError(ValueError):
    """A plugin cannot be loaded."""


def load_plugin(name: str | Path) -> ModuleType:
    """Import a plugin and register its parts; loading it again has no effect.

    Args:
        name: an importable module, or the path of a `.py` file, which is imported under the name of the file without
            changing `sys.path`.

    Raises:
        PluginError: the module or file does not exist or cannot be imported, or another module has its name.
        ValueError: the name of a part is taken.
    """
    with registry.registering_for(str(name)), registry.registration_rollback():
        try:
            module = _import_file(Path(name)) if str(name).endswith(".py") else _import_module(str(name))
        except PluginError:
            raise
        except (Exception, SystemExit) as error:  # a plugin can raise anything
            raise PluginError(
                f"The plugin {str(name)!r} cannot be imported ({registry.describe_error(error)})."
            ) from error
        registry.add_table(getattr(module, "PARTS", {}), str(name))
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        file = f"{name}.py"
        hint = f" This folder has {file}: give `--plugin {file}`." if Path(file).is_file() else ""
        raise PluginError(
            f"There is no plugin {name!r}: name a module that Python can import, or a file that ends in .py.{hint}"
        ) from None


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"There is no plugin {path}: the file does not exist.")
    path = path.resolve()
    known = sys.modules.get(path.stem)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() == path:
        if _loaded_files.get(path, digest := _sha256(path)) != digest:
            logger.warning("%s was changed after it was loaded: restart Python to use the changed version", path)
        return known
    if known is not None or _shadows_module(path):
        raise PluginError(f"The plugin {path} would be imported as `{path.stem}`, which is another module: rename it.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    _loaded_files[path] = _sha256(path)
    return module


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _shadows_module(path: Path) -> bool:
    """Return whether a file has the name of another importable module, for example torch.py."""
    spec = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    return spec is not None and Path(spec.origin or "").resolve() != path


def describe_plugins(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Describe the plugins of parts for run.json: part, module, installed package, SHA-256 of the file.

    Parts of a script are described as if the script were loaded as a plugin.
    """
    notes = []
    plugin_entries = [entry for entry in entries if entry.owner != registry.BUILT_IN_OWNER]
    distributions = packages_distributions() if plugin_entries else {}  # slow: reads the lists of all installed files
    for entry in plugin_entries:
        module = sys.modules[entry.load().__module__]
        file = getattr(module, "__file__", None)
        name = Path(file).stem if file and module.__name__ == "__main__" else module.__name__
        notes.append(
            {
                "kind": entry.kind,
                "name": entry.name,
                "module": name,
                "distribution": _distribution_of_module(name, distributions),
                "sha256": _sha256(Path(file)) if file else None,
                "plugin": Path(file).name if file and entry.owner == "__main__" else entry.owner,
            }
        )
    return notes


def plugin_notes_by_part(notes: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Map (kind, name) of each part to the description of its plugin in run.json; imports nothing.

    Invalid descriptions are skipped.
    """
    by_part = {}
    for note in notes if isinstance(notes, list) else []:
        if isinstance(note, dict):
            by_part[str(note.get("kind")), str(note.get("name"))] = note
    return by_part


def missing_plugins(notes: Any) -> list[str]:
    """Return the plugins in run.json with a part that is not registered, by the name they were loaded with."""
    missing = {
        str(note.get("plugin", note.get("module")))
        for (kind, name), note in plugin_notes_by_part(notes).items()
        if kind not in registry.PART_KINDS or name not in registry.Parts(kind)
    }
    return sorted(missing)


def _distribution_of_module(module: str, distributions: Mapping[str, list[str]]) -> str | None:
    """Return the name and version of a module's installed package; None if there is none."""
    names = distributions.get(module.partition(".")[0])
    return f"{names[0]} {version(names[0])}" if names else None
