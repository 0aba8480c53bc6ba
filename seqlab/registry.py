"""Registry of parts (models, objectives, searches, tasks and so on) by kind and name.

A part is registered under one name of its kind, usually as `module:attribute`, which is imported at first use. The
built-in parts are listed in `seqlab.built_in`; others come from `register` and from plugins (`seqlab.plugins`). This
module imports neither torch nor pydantic.
"""

import logging
import os
import traceback
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any, TypeVar

from seqlab.base.nearest import nearest_hint
from seqlab.built_in import BUILT_IN, CONFIG_BASES
from seqlab.commands import Command

logger = logging.getLogger(__name__)

P = TypeVar("P")
BUILT_IN_OWNER = "seqlab"
"""Owner of the built-in parts."""
PART_KINDS = tuple(BUILT_IN)
"""All kinds of parts."""
METHODS = {"logger": ("log", "close"), "search": ("fits", "__call__")}
"""Kind of parts without a config -> methods that a class needs."""
ENTRY_POINT_GROUP = "seqlab.plugins"
"""Group of the entry points by which installed packages provide tables of parts."""
NO_PLUGINS_VARIABLE = "SEQLAB_NO_PLUGINS"
"""Environment variable: if it is 1, no installed plugin is loaded."""


class UnknownPart(ValueError):
    """No part of this kind has this name."""


class UnusablePart(ValueError):
    """A part of a plugin cannot be imported or used."""


@dataclass(frozen=True)
class Entry:
    """A registered part."""

    kind: str
    name: str
    target: Any
    """`module:attribute`, or the part itself."""
    summary: str
    owner: str = BUILT_IN_OWNER
    """Name of the package, plugin or module that registered it."""

    def load(self) -> Any:
        """Import and return the part; raise UnusablePart if the part of a plugin cannot be imported or used."""
        if not isinstance(self.target, str):
            return self.target
        try:
            part = import_target(self.target)
        except Exception as error:  # a plugin can raise anything
            if self.owner == BUILT_IN_OWNER:
                raise
            raise UnusablePart(
                f"The {self.kind} {self.name!r} of {self.owner} cannot be imported ({describe_error(error)})."
            ) from error
        if self.owner != BUILT_IN_OWNER and (problem := find_problem(self.kind, self.name, part)):
            raise UnusablePart(f"The {self.kind} {self.name!r} of {self.owner} cannot be used: {problem}.")
        return part

    @property
    def location(self) -> str:
        """The definition of the part as `module:name`; `owner:name` for an object without a `__qualname__`."""
        if isinstance(self.target, str):
            return self.target
        name = getattr(self.target, "__qualname__", None)
        return f"{self.owner}:{self.name}" if name is None else f"{self.target.__module__}:{name}"


def find_problem(kind: str, name: str, part: Any) -> str:
    """Return why an object cannot be a part of a kind under a name, or "" if it can."""
    shown = getattr(part, "__qualname__", repr(part))
    if kind == "command":
        return "" if isinstance(part, Command) else f"{shown} is not a `seqlab.commands.Command`"
    if kind not in CONFIG_BASES:
        if isinstance(part, type) and (missing := _missing_methods(kind, part)):
            return f"{shown} lacks {', '.join(f'`{member}`' for member in missing)}"
        return "" if callable(part) else f"{shown} is neither a function nor a class"
    config: Any = part
    if not (isinstance(part, type) and getattr(part, "part_kind", None) == kind):
        return f"{shown} is not derived from `{CONFIG_BASES[kind].replace(':', '.')}`"
    if "__pydantic_validator__" not in vars(part):
        return (
            f"{shown} is not a pydantic dataclass: decorate it with "
            "`@pydantic.dataclasses.dataclass(frozen=True, kw_only=True)`"
        )
    if (tag := getattr(config, config.tag_field, None)) != name:
        wanted = f"`{config.tag_field}: Literal[{name!r}] = {name!r}`"
        actual = f", but it has {tag!r}" if tag is not None else ""
        return f"{shown} must have the field {wanted}, which is its name in files{actual}"
    if missing := config.missing_members():
        base = CONFIG_BASES[kind].rpartition(":")[2]
        return f"{shown} lacks {', '.join(f'`{member}`' for member in missing)} (see `{base}`)"
    return ""


def _missing_methods(kind: str, part: type) -> list[str]:
    """Return the methods of its kind that a class lacks; `type` itself has a `__call__`, which does not count."""
    defined = {name for base in part.__mro__ for name in vars(base)}
    return [method for method in METHODS.get(kind, ()) if method not in defined]


def describe_error(error: BaseException) -> str:
    """Describe an error of a plugin in one line: its type, message and location (file:line)."""
    if isinstance(error, SyntaxError):  # its message ends with the location
        return f"{type(error).__name__}: {error}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    location = f", {frames[-1].filename}:{frames[-1].lineno}" if frames and frames[-1].filename != __file__ else ""
    return f"{type(error).__name__}: {error}{location}"


def import_target(target: str) -> Any:
    """Import `module:attribute`, whose attribute may have dots, or `module`; return what is imported."""
    module, _, attribute = target.partition(":")
    return attrgetter(attribute)(import_module(module)) if attribute else import_module(module)


_parts: dict[str, dict[str, Entry]] = {
    kind: {name: Entry(kind, name, target, summary) for name, (target, summary) in table.items()}
    for kind, table in BUILT_IN.items()
}


_broken_plugins: list[str] = []
"""Messages about plugins with a table or part that cannot be read."""
_is_discovered = False
_current_owner: str | None = None
"""Owner of the parts that are registered in a `registering_for` context; None outside."""


def _parts_of_kind(kind: str) -> dict[str, Entry]:
    """Return the parts of a kind, including those of installed plugins."""
    _discover_plugins()
    return _parts[kind]


def add_entries(*entries: Entry) -> None:
    """Register parts, all or none; a part that is already registered is skipped.

    Raises:
        ValueError: the kind does not exist, or the name is taken; the message names both owners.
    """
    for entry in entries:
        if not entry.name or any(character.isspace() or character == "/" for character in entry.name):
            raise ValueError(
                f"The {entry.kind} {entry.name!r} of {entry.owner} must have a name without spaces or slashes."
            )
        if entry.kind not in _parts:
            raise ValueError(
                f"The kind of a part must be one of {', '.join(_parts)}, but {entry.owner} registers {entry.name!r} as "
                f"{entry.kind!r} instead."
            )
        known = _parts[entry.kind].get(entry.name)
        if known is not None and known.location != entry.location:
            raise ValueError(
                f"{entry.owner} registers the {entry.kind} {entry.name!r}, but that name is taken by {known.owner}: "
                "choose another name."
            )
    for entry in entries:
        known = _parts[entry.kind].get(entry.name)
        if known is None or not isinstance(known.target, str):  # keep an entry of a table for the same part
            _parts[entry.kind][entry.name] = entry


def add_table(table: Any, owner: str) -> None:
    """Register the parts of a plugin's table; raise ValueError for an invalid table or a name that is taken."""
    shape = f"The table of parts of {owner} must be a mapping kind -> name -> (`module:attribute`, summary)"
    entries = []
    for kind, parts in _mapping_items(table, shape):
        for name, value in _mapping_items(parts, f"{shape}, but {kind!r} does not"):
            if not (
                isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(item, str) for item in value)
            ):
                raise ValueError(f"{shape}, but the {kind} {name!r} has {value!r} instead.")
            entries.append(Entry(str(kind), str(name), value[0], value[1], owner))
    add_entries(*entries)


def _mapping_items(value: Any, message: str) -> ItemsView[Any, Any]:
    """Return the items of a mapping; raise ValueError with `message` for anything else."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{message}, but is {value!r} instead.")
    return value.items()


def _discover_plugins() -> None:
    """Register the parts that installed packages provide by entry points, once.

    A table that cannot be read only logs a warning, and its parts are missing.
    """
    global _is_discovered
    if _is_discovered:
        return
    _is_discovered = True
    if os.environ.get(NO_PLUGINS_VARIABLE) == "1":
        return
    from importlib.metadata import entry_points  # slow, and not needed for built-in parts

    for point in entry_points(group=ENTRY_POINT_GROUP):
        owner = _distribution_name(point)
        try:
            add_table(point.load(), owner)
        except Exception as error:  # a broken plugin must not affect commands that do not use it
            _warn_left_out(f"The parts of the plugin {owner} cannot be read ({describe_error(error)}).")


def _warn_left_out(reason: str) -> None:
    """Warn that parts of a plugin are missing, and keep the reason for `broken_plugins_hint`."""
    _broken_plugins.append(reason.rstrip("."))
    logger.warning("Left out: %s", reason)


def _distribution_name(point: Any) -> str:
    """Return the name and version of the package that provides an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def register(kind: str, name: str | None = None, *, summary: str | None = None) -> Callable[[P], P]:
    """Return a decorator that registers a class or function as a part, so that configs and commands can refer to it.

    ```python
    @seqlab.register("objective")
    @dataclass(frozen=True, kw_only=True, config=SETTINGS)
    class FocalConfig(ObjectiveConfig):
        family: Literal["focal"] = "focal"
    ```

    Args:
        kind: `model`, `objective`, `optimizer`, `schedule`, `search`, `metric`, `task`, `tokenizer`, `codec`,
            `exporter`, `logger`, `command`.
        name: name in configs and commands; the default is the tag of a config (the default value of `family`, `kind` or
            `format`), or else the `__name__`.
        summary: one line for lists and help; the default is the first line of the docstring.

    Raises:
        ValueError: the kind does not exist, the name is taken or contains a space, or the part does not fit its kind.
    """

    def decorate(part: P) -> P:
        target: Any = part
        part_name = name or _default_name(target)
        if kind in PART_KINDS and (problem := find_problem(kind, part_name, target)):
            raise ValueError(f"The {kind} {part_name!r} cannot be registered: {problem}.")
        text = target.options.__doc__ if isinstance(target, Command) else target.__doc__
        first_line = (text or "").strip().partition("\n")[0]
        add_entries(Entry(kind, part_name, part, summary or first_line, _current_owner or str(target.__module__)))
        return part

    return decorate


@contextmanager
def registering_for(owner: str) -> Iterator[None]:
    """Set the owner of the parts that are registered within the context."""
    global _current_owner
    before, _current_owner = _current_owner, owner
    try:
        yield
    finally:
        _current_owner = before


@contextmanager
def registration_rollback() -> Iterator[None]:
    """Undo all registrations within the context if it ends with an exception."""
    before = {kind: dict(parts) for kind, parts in _parts.items()}
    try:
        yield
    except BaseException:
        for kind, parts in before.items():
            _parts[kind].clear()
            _parts[kind].update(parts)
        raise


def _default_name(part: Any) -> str:
    """Return the tag of a config, or the `__name__` of another part."""
    tag = getattr(part, getattr(part, "tag_field", ""), None) or getattr(part, "__name__", None)
    if tag is None:
        raise ValueError(f"`name` must be given to register {part!r}, which has no `__name__`.")
    return str(tag)


class Parts(Mapping[str, Any]):
    """Mapping from the names of one kind's parts to the parts, which are imported when they are looked up."""

    def __init__(self, kind: str, tag_field: str = "family") -> None:
        """Create the mapping of a kind; `tag_field` is the field of a config that contains a part's name."""
        self.kind, self.tag_field = kind, tag_field

    def __repr__(self) -> str:
        return f"Parts({self.kind!r}: {', '.join(self)})"

    def __getitem__(self, name: str) -> Any:
        return get_entry(self.kind, name).load()

    def __contains__(self, name: object) -> bool:
        return name in _parts[self.kind] or name in _parts_of_kind(self.kind)

    def __iter__(self) -> Iterator[str]:
        return iter(_parts_of_kind(self.kind))

    def __len__(self) -> int:
        return len(_parts_of_kind(self.kind))

    def items(self) -> ItemsView[str, Any]:
        """Import all parts; parts of plugins that cannot be imported are left out with a warning."""
        return self._import_usable().items()

    def values(self) -> ValuesView[Any]:
        """Import all parts, as `items` does."""
        return self._import_usable().values()

    def _import_usable(self) -> dict[str, Any]:
        """Import all parts, and unregister those that cannot be imported."""
        parts: dict[str, Any] = {}
        for entry in list_entries(self.kind):
            try:
                parts[entry.name] = entry.load()
            except UnusablePart as error:
                del _parts[self.kind][entry.name]
                _warn_left_out(str(error))
        return parts


def list_entries(kind: str) -> list[Entry]:
    """Return the entries of a kind, the built-in ones first."""
    return list(_parts_of_kind(kind).values())


def plugin_packages() -> set[str]:
    """Return the top-level packages or modules that define the parts of plugins and scripts."""
    parts = (entry for table in _parts.values() for entry in table.values() if entry.owner != BUILT_IN_OWNER)
    return {entry.location.partition(":")[0].partition(".")[0] for entry in parts}


def get_entry(kind: str, name: str) -> Entry:
    """Return the entry of a part; raise KeyError if there is none."""
    known = _parts[kind].get(name)
    return _parts_of_kind(kind)[name] if known is None else known


def find_part(kind: str, name: str) -> Any:
    """Import and return a part by kind and name; raise UnknownPart with the nearest name if there is none."""
    if name not in Parts(kind):
        names = _parts_of_kind(kind)
        raise UnknownPart(
            f"There is no {kind} {name!r}: choose one of {', '.join(names)}"
            f"{nearest_hint(name, names) or '; a custom one needs its plugin (`--plugin`)'}."
            f"{broken_plugins_hint()}"
        )
    return get_entry(kind, name).load()


def broken_plugins_hint() -> str:
    """Return a sentence that lists the plugins that could not be read, for a message about a missing part."""
    return f" Plugins that cannot be read: {'; '.join(_broken_plugins)}." if _broken_plugins else ""


def default_part(kind: str) -> Any:
    """Import and return the default part of a kind."""
    return next(iter(_parts[kind].values())).load()
