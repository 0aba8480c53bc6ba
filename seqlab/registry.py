"""The open tables of parts: which model families, objectives, searches, ... there are, by kind and name.

A part is registered under one name of its kind, as `module:attribute`, which is imported when the part is first used.
The built-in ones stand in `seqlab.built_in`; others come from `register` and from plugins (`seqlab.plugins`). Nothing
here imports torch or pydantic.
"""

import difflib
import logging
import os
import traceback
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from seqlab.built_in import BUILT_IN, CONFIGS
from seqlab.commands import Command

logger = logging.getLogger(__name__)

P = TypeVar("P")
OWN = "seqlab"
"""The owner of the built-in parts."""
KINDS = tuple(BUILT_IN)
"""The kinds of parts."""
GROUP = "seqlab.plugins"
"""Of the entry points by which installed packages name their tables of parts."""
SWITCH = "SEQLAB_NO_PLUGINS"
"""Environment variable: at 1 no installed plugin is loaded."""


class UnknownPart(ValueError):
    """No part of this kind has this name."""


class UnusablePart(ValueError):
    """A part of a plugin cannot be imported."""


@dataclass(frozen=True)
class Entry:
    """A registered part."""

    kind: str
    name: str
    target: Any
    """`module:attribute`, or the part itself"""
    summary: str
    owner: str = OWN
    """who registered it: seqlab, or a plugin"""

    def load(self) -> Any:
        """Import the part where it is not there yet; raises UnusablePart where a plugin's cannot be."""
        if not isinstance(self.target, str):
            return self.target
        try:
            part = imported(self.target)
        except Exception as error:  # whatever its code raises
            if self.owner == OWN:
                raise
            raise UnusablePart(
                f"The {self.kind} {self.name!r} of {self.owner} cannot be imported ({reason_of(error)})."
            ) from error
        if self.owner != OWN and (problem := problem_of(self.kind, self.name, part)):
            raise UnusablePart(f"The {self.kind} {self.name!r} of {self.owner} cannot be used: {problem}.")
        return part

    @property
    def place(self) -> str:
        """Where the part is defined, as `module:name`; of an object that does not know it, who registers it."""
        if isinstance(self.target, str):
            return self.target
        name = getattr(self.target, "__qualname__", None)
        return f"{self.owner}:{self.name}" if name is None else f"{self.target.__module__}:{name}"


def problem_of(kind: str, name: str, part: Any) -> str:
    """Say why an object cannot be a part of a kind under a name; "" where nothing is wrong."""
    shown = getattr(part, "__qualname__", repr(part))
    if kind == "command":
        return "" if isinstance(part, Command) else f"{shown} is no `seqlab.commands.Command`"
    if kind not in CONFIGS:
        return "" if callable(part) else f"{shown} is no function and no class"
    config: Any = part
    if not (isinstance(part, type) and getattr(part, "part_kind", None) == kind):
        return f"{shown} is not derived from `{CONFIGS[kind].replace(':', '.')}`"
    if "__pydantic_validator__" not in vars(part):
        return f"{shown} is no dataclass: put `@pydantic.dataclasses.dataclass(frozen=True, kw_only=True)` above it"
    if (tag := getattr(config, config.tag_field, None)) != name:
        wanted = f"`{config.tag_field}: Literal[{name!r}] = {name!r}`"
        found = f", but it has {tag!r}" if tag is not None else ""
        return f"{shown} must have the field {wanted}, by which files name it{found}"
    if missing := config.missing_members():
        base = CONFIGS[kind].rpartition(":")[2]
        return f"{shown} lacks {', '.join(f'`{each}`' for each in missing)} (see `{base}`)"
    return ""


def reason_of(error: BaseException) -> str:
    """Describe what code from outside has raised, and where in a file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    place = f", {frames[-1].filename}:{frames[-1].lineno}" if frames and frames[-1].filename != __file__ else ""
    return f"{type(error).__name__}: {error}{place}"


def imported(target: str) -> Any:
    """Import what `module:attribute` names, or a whole `module`."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute) if attribute else import_module(module)


_entries: dict[str, dict[str, Entry]] = {
    kind: {name: Entry(kind, name, target, summary) for name, (target, summary) in table.items()}
    for kind, table in BUILT_IN.items()
}


_broken: list[str] = []
"""The plugins of which something cannot be read, and why."""
_discovered = False
_owner: str | None = None
"""Whoever registers parts now; None for a script, whose module is named."""


def _table(kind: str) -> dict[str, Entry]:
    """Return the parts of a kind, those of installed plugins included."""
    _discover()
    return _entries[kind]


def add(*entries: Entry) -> None:
    """Add parts, all or none; the same part again changes nothing.

    Raises:
        ValueError: there is no such kind of part, or a name is taken; names both owners.
    """
    for entry in entries:
        if not entry.name or any(character.isspace() or character == "/" for character in entry.name):
            raise ValueError(f"The {entry.kind} {entry.name!r} of {entry.owner} must have a name without spaces.")
        if entry.kind not in _entries:
            raise ValueError(
                f"A part must be one of {', '.join(_entries)}, but {entry.name!r} of {entry.owner} is {entry.kind!r} "
                "instead."
            )
        known = _entries[entry.kind].get(entry.name)
        if known is not None and known.place != entry.place:
            raise ValueError(
                f"{entry.owner} registers the {entry.kind} {entry.name!r}, but that name is taken by {known.owner}: "
                "choose another."
            )
    for entry in entries:
        known = _entries[entry.kind].get(entry.name)
        if known is None or not isinstance(known.target, str):  # else it is the one that a table names
            _entries[entry.kind][entry.name] = entry


def add_table(table: Any, owner: str) -> None:
    """Register the parts of a table; raises ValueError where it is none, or where a name is taken."""
    shape = f"The table of parts of {owner} must map kinds to names to (`module:attribute`, summary)"
    entries = []
    for kind, parts in _items(table, shape):
        for name, value in _items(parts, f"{shape}, but {kind!r} does not"):
            if not (
                isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(each, str) for each in value)
            ):
                raise ValueError(f"{shape}, but the {kind} {name!r} has {value!r} instead.")
            entries.append(Entry(str(kind), str(name), value[0], value[1], owner))
    add(*entries)


def _items(value: Any, message: str) -> ItemsView[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{message}, but is {value!r} instead.")
    return value.items()


def _discover() -> None:
    """Register what installed packages offer by entry points, once.

    A table that cannot be read is a warning, and its parts are missing.
    """
    global _discovered
    if _discovered:
        return
    _discovered = True
    if os.environ.get(SWITCH) == "1":
        return
    from importlib.metadata import entry_points  # only where a name is not built-in, or parts are listed

    for point in entry_points(group=GROUP):
        owner = _owner_of(point)
        try:
            add_table(point.load(), owner)
        except Exception as error:  # whatever it raises, it must not disturb what does not use it
            _leave_out(f"The parts of the plugin {owner} cannot be read ({reason_of(error)}).")


def _leave_out(reason: str) -> None:
    """Warn that something of a plugin is missing, and remember why for whoever asks for it."""
    _broken.append(reason.rstrip("."))
    logger.warning("Left out: %s", reason)


def _owner_of(point: Any) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def register(kind: str, name: str | None = None, *, summary: str | None = None) -> Callable[[P], P]:
    """Return a decorator that adds a class or function of your own to the parts that configs and commands can name.

    ```python
    @seqlab.register("objective")
    @dataclass(frozen=True, kw_only=True, config=SETTINGS)
    class FocalConfig(ObjectiveConfig):
        family: Literal["focal"] = "focal"
    ```

    Args:
        kind: `model`, `objective`, `optimizer`, `schedule`, `search`, `metric`, `task`, `tokenizer`, `codec`,
            `exporter`, `command`.
        name: what configs call it; unless given, of a config its tag (the default of `family`, `kind` or `format`), of
            others the `__name__`.
        summary: one line for lists and help; the first line of the docstring unless given.

    Raises:
        ValueError: there is no such kind, the name is taken or has a space, or the part is not what its kind needs.
    """

    def decorate(part: P) -> P:
        own: Any = part
        known_as = name or _tag_of(own)
        if kind in KINDS and (problem := problem_of(kind, known_as, own)):
            raise ValueError(f"The {kind} {known_as!r} cannot be registered: {problem}.")
        text = own.options.__doc__ if isinstance(own, Command) else own.__doc__
        first_line = (text or "").strip().partition("\n")[0]
        add(Entry(kind, known_as, part, summary or first_line, _owner or str(own.__module__)))
        return part

    return decorate


@contextmanager
def owned_by(owner: str) -> Iterator[None]:
    """Name who owns the parts that are registered within this context."""
    global _owner
    before, _owner = _owner, owner
    try:
        yield
    finally:
        _owner = before


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Take back what is registered within this context where it ends with an exception."""
    before = {kind: dict(parts) for kind, parts in _entries.items()}
    try:
        yield
    except BaseException:
        for kind, parts in before.items():
            _entries[kind].clear()
            _entries[kind].update(parts)
        raise


def _tag_of(part: Any) -> str:
    """Read the name that the config of a part has in files; of other parts their own."""
    tag = getattr(part, getattr(part, "tag_field", ""), None) or getattr(part, "__name__", None)
    if tag is None:
        raise ValueError(f"`name` must be given to register {part!r}, which has none of its own.")
    return str(tag)


class Parts(Mapping[str, Any]):
    """The parts of one kind by name, each imported when it is looked up."""

    def __init__(self, kind: str, tag_field: str = "family") -> None:
        """Name the kind, and the field that names a part of it in a config."""
        self.kind, self.tag_field = kind, tag_field

    def __repr__(self) -> str:
        return f"Parts({self.kind!r}: {', '.join(self)})"

    def __getitem__(self, name: str) -> Any:
        return entry_of(self.kind, name).load()

    def __contains__(self, name: object) -> bool:
        return name in _entries[self.kind] or name in _table(self.kind)

    def __iter__(self) -> Iterator[str]:
        return iter(_table(self.kind))

    def __len__(self) -> int:
        return len(_table(self.kind))

    def items(self) -> ItemsView[str, Any]:
        """Import all parts; those of plugins that cannot be are left out, with a warning."""
        return self._usable().items()

    def values(self) -> ValuesView[Any]:
        """Import all parts, as `items` does."""
        return self._usable().values()

    def _usable(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for entry in entries(self.kind):
            try:
                found[entry.name] = entry.load()
            except UnusablePart as error:
                del _entries[self.kind][entry.name]
                _leave_out(str(error))
        return found


def entries(kind: str) -> list[Entry]:
    """List the parts of a kind, the built-in ones first."""
    return list(_table(kind).values())


def outside_packages() -> set[str]:
    """Name the packages, or modules without one, that define the parts from outside."""
    parts = (entry for table in _entries.values() for entry in table.values() if entry.owner != OWN)
    return {entry.place.partition(":")[0].partition(".")[0] for entry in parts}


def entry_of(kind: str, name: str) -> Entry:
    """Return the entry of a part; raises KeyError where there is none."""
    known = _entries[kind].get(name)
    return _table(kind)[name] if known is None else known


def find(kind: str, name: str) -> Any:
    """Return the part of a kind by its name; raises UnknownPart, naming the nearest."""
    if name not in Parts(kind):
        [nearest] = difflib.get_close_matches(name, _table(kind), n=1, cutoff=0)
        raise UnknownPart(
            f"There is no {kind} {name!r}: choose one of {', '.join(_table(kind))} (the nearest is {nearest!r})."
            f"{missing_hint()}"
        )
    return entry_of(kind, name).load()


def missing_hint() -> str:
    """Say, after a message about a part that is missing, which plugins could not be read."""
    return f" Plugins that cannot be read: {'; '.join(_broken)}." if _broken else ""


def default_part(kind: str) -> Any:
    """Give the part that is taken where none is named."""
    return next(iter(_entries[kind].values())).load()
