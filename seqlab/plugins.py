"""Plugins: parts that other packages and files add to the registry (see `seqlab.registry`).

A plugin is a module that registers parts when it is imported (`@seqlab.register`), or has a table `PARTS` of them:
kind -> name -> (`module:attribute`, summary). Installed packages name such a table by an entry point of the group
`seqlab.plugins`; it must not import torch, as lists and help read it. Others are named with `--plugin` or
`seqlab.load(run, plugins=[...])`. A plugin runs code, so nothing that a file says imports one.
"""

import hashlib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from seqlab import registry
from seqlab.registry import Entry

logger = logging.getLogger(__name__)

_loaded: dict[Path, str] = {}
"""The SHA-256 of each file that was loaded."""


class PluginError(ValueError):
    """A plugin cannot be loaded."""


def load_plugin(name: str | Path) -> ModuleType:
    """Import a plugin, and register its parts; the same one again changes nothing.

    Args:
        name: an importable module, or the path of a file that ends in `.py`, which is loaded under its own name,
            without a change of `sys.path`.

    Raises:
        PluginError: there is no such module or file, it cannot be imported, or another module has its name.
        ValueError: one of its parts has a name that is taken.
    """
    with registry.owned_by(str(name)), registry.all_or_nothing():
        try:
            module = _imported_file(Path(name)) if str(name).endswith(".py") else _imported_module(str(name))
        except PluginError:
            raise
        except (Exception, SystemExit) as error:  # whatever its code raises
            raise PluginError(f"The plugin {str(name)!r} cannot be imported ({registry.reason_of(error)}).") from error
        registry.add_table(getattr(module, "PARTS", {}), str(name))
    return module


def _imported_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise PluginError(
            f"There is no plugin {name!r}: name a module that Python can import, or a file that ends in .py."
        ) from None


def _imported_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"There is no plugin {path}: the file does not exist.")
    path = path.resolve()
    known = sys.modules.get(path.stem)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() == path:
        if _loaded.get(path, digest := _sha256(path)) != digest:
            logger.warning("%s was changed after it was loaded: start Python anew to use it as it is now", path)
        return known
    if known is not None or _is_another(path):
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
    _loaded[path] = _sha256(path)
    return module


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _is_another(path: Path) -> bool:
    """Tell whether a file has the name of a module that Python would find elsewhere, such as torch.py."""
    found = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    return found is not None and Path(found.origin or "").resolve() != path


def notes_of(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Describe the plugins that own some parts, for run.json: the part, its module, its distribution and its file's
    SHA-256. A script's parts are those of the module that it is as a plugin."""
    notes = []
    for entry in entries:
        if entry.owner == registry.OWN:
            continue
        module = sys.modules[entry.load().__module__]
        file = getattr(module, "__file__", None)
        name = Path(file).stem if file and module.__name__ == "__main__" else module.__name__
        notes.append(
            {
                "kind": entry.kind,
                "name": entry.name,
                "module": name,
                "distribution": _distribution_of(name),
                "sha256": _sha256(Path(file)) if file else None,
                "plugin": Path(file).name if file and entry.owner == "__main__" else entry.owner,
            }
        )
    return notes


def read_notes(notes: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Map each part, by kind and name, to what run.json notes of its plugin; nothing is imported, or taken on trust."""
    found = {}
    for note in notes if isinstance(notes, list) else []:
        if isinstance(note, dict):
            found[str(note.get("kind")), str(note.get("name"))] = note
    return found


def missing_plugins(notes: Any) -> list[str]:
    """Name the plugins that run.json notes, as they were named or installed, of which a part is not registered."""
    missing = {
        str(note.get("plugin", note.get("module")))
        for (kind, name), note in read_notes(notes).items()
        if kind not in registry.KINDS or name not in registry.Parts(kind)
    }
    return sorted(missing)


def _distribution_of(module: str) -> str | None:
    """Name the installed package of a module, with its version."""
    names = packages_distributions().get(module.partition(".")[0])
    return f"{names[0]} {version(names[0])}" if names else None
