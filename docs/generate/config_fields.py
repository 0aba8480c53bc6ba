"""Reference page of all config fields, from their types and docstrings (`seqlab.runs.fields`)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from generate.markup import prose
from seqlab.runs.config import Config
from seqlab.runs.fields import REQUIRED, FieldDescription, list_fields

INTRODUCTION = """# Config fields

All fields of `config.yaml`. Each is also an option `--KEY VALUE` of `seqlab train`. A section with families
(`data.kind`, `model.family`, ...) has the fields of the chosen family; each field lists the families that have it.
Defaults are those of the family; recipes and automatic settings may choose other values.
`seqlab train RECIPE --help` prints the fields of a recipe with its values.

<input class="filter" type="search" data-filter=".field" placeholder="Filter fields: dropout, valid, lstm ..."
aria-label="Filter fields">
"""
CONFIG = "config"
"""Heading of the fields without a section."""


@dataclass
class Variant:
    """A field with one type, default and description, shared by several families."""

    type: str
    default: object
    text: str
    families: list[str] = field(default_factory=list)


def pages() -> dict[str, str]:
    """Write the page."""
    return {"reference/config.md": page(list_fields(Config))}


def page(fields: Iterable[FieldDescription]) -> str:
    """Write all fields, with a heading per section and per key."""
    parts = [INTRODUCTION]
    by_key: dict[str, list[FieldDescription]] = {}
    for each in fields:
        by_key.setdefault(each.key, []).append(each)
    in_sections = sorted(by_key, key=lambda key: list(sections(by_key)).index(section_of(key)))
    for section, keys in groupby(in_sections, key=section_of):
        parts.append(f"## {section}")
        parts += [entry(key, by_key[key]) for key in keys]
    return "\n\n".join(parts)


def sections(keys: Iterable[str]) -> dict[str, None]:
    """List the sections in the order of their first fields."""
    return dict.fromkeys(map(section_of, keys))


def section_of(key: str) -> str:
    """Return the section of a dotted key."""
    return key.rpartition(".")[0] or CONFIG


def entry(key: str, found: list[FieldDescription]) -> str:
    """Describe a field: the type, default, families and description of each variant."""
    variants: dict[tuple[str, str, str], Variant] = {}
    for each in found:
        variant = Variant(each.type, each.default, each.text)
        known = variants.setdefault((each.type, shown_default(each.default), each.text), variant)
        known.families += [each.family] if each.family else []
    parts = [f'<div class="field" markdown>\n\n#### {key} {{ #{key} }}']
    for variant in variants.values():
        families = f" · {', '.join(f'`{name}`' for name in variant.families)}" if variant.families else ""
        default = "required" if variant.default == REQUIRED else f"default `{shown_default(variant.default)}`"
        parts.append(f"`{variant.type}` · {default}{families}\n{{ .facts }}")
        parts.append(prose(variant.text))
    return "\n\n".join([*parts, "</div>"])


def shown_default(default: object) -> str:
    """Format a default as in YAML and on the command line."""
    return default if default == REQUIRED and isinstance(default, str) else json.dumps(default, ensure_ascii=False)
