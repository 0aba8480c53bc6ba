"""Introspection of config classes: sections, families, and each field's type, default and docstring.

A section is a pydantic dataclass. A section with several families is annotated with their base class, a registered kind
of `Part`; its field `tag_field`, the tag, names the chosen family.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo

from seqlab.base.nearest import MIN_SIMILARITY, nearest_name
from seqlab.registry import Parts

REQUIRED = "(required)"
SYNONYMS = {
    "batch": ("batch_tokens", "batch_rows", "batch_seconds"),
    "batch_size": ("batch_tokens", "batch_rows", "batch_seconds"),
    "epochs": ("max_epochs",),
    "num_epochs": ("max_epochs",),
    "steps": ("max_steps",),
    "num_steps": ("max_steps",),
    "learning_rate": ("lr",),
    "warmup": ("warmup_steps",),
    "optimizer": ("optimizer.family",),
    "scheduler": ("schedule.family",),
    "lr_scheduler": ("schedule.family",),
    "arch": ("model.family",),
    "architecture": ("model.family",),
    "model": ("model.family",),
    "loss": ("objective.family",),
    "task": ("data.kind",),
    "criterion": ("objective.family",),
    "src": ("train_src",),
    "source": ("train_src",),
    "tgt": ("train_tgt",),
    "target": ("train_tgt",),
    "layers": ("num_layers", "num_encoder_layers"),
    "n_layers": ("num_layers", "num_encoder_layers"),
    "heads": ("num_heads",),
    "n_heads": ("num_heads",),
    "embed_dim": ("d_model",),
    "width": ("d_model", "hidden_size"),
    "hidden_dim": ("hidden_size", "d_model"),
    "vocab": ("vocab_size",),
    "clip": ("max_grad_norm",),
    "clip_norm": ("max_grad_norm",),
    "early_stopping_patience": ("patience",),
    "gpu": ("device",),
    "cuda": ("device",),
    "fp16": ("precision",),
    "bf16": ("precision",),
}
"""Name of a field in other toolkits -> endings of the keys with the same meaning."""


@dataclass(frozen=True)
class FieldDescription:
    """A field of a config, as `--help` shows it."""

    key: str
    """Dotted key, such as `optim.optimizer.lr`."""
    type: str
    """Type in the words of YAML: `int`, `float | null`, `pre | post`, `list of str`."""
    default: object
    """Default in the types of YAML; `REQUIRED` if the field has none."""
    text: str
    """Docstring of the field."""
    family: str
    """Family that the field belongs to, or empty."""
    is_chosen: bool
    """Whether the config has chosen this family, so that the field can be set."""
    is_tag: bool = False
    """Whether the field chooses the family of its section; `type` lists the families."""


def fields_of(section: type) -> dict[str, FieldInfo]:
    """Return the fields of a pydantic dataclass by name."""
    fields: dict[str, FieldInfo] = section.__pydantic_fields__  # type: ignore[attr-defined]
    return fields


def families(annotation: Any) -> Mapping[str, type]:
    """Return the section classes of a field's type by tag: under '' if it has no tag, none for a plain value."""
    if "part_kind" in getattr(annotation, "__dict__", ()):
        return Parts(annotation.part_kind, annotation.tag_field)
    return {"": annotation} if is_pydantic_dataclass(annotation) else {}


def tag_name(sections: Mapping[str, type]) -> str:
    """Return the name of the field that chooses among the families of a section, or ''."""
    return sections.tag_field if isinstance(sections, Parts) else ""


def field_docstring(section: type, name: str) -> str:
    """Return the docstring of a field, which may be inherited from a base class."""
    owners = (base for base in section.__mro__ if is_pydantic_dataclass(base) and name in fields_of(base))
    return next((" ".join(text.split()) for owner in owners if (text := fields_of(owner)[name].description)), "")


def default_value(field: FieldInfo) -> Any:
    """Return a field's default in the types of YAML; `REQUIRED` if it has none."""
    if field.is_required():
        return REQUIRED
    default = field.get_default(call_default_factory=True)
    return TypeAdapter(type(default)).dump_python(default, mode="json")


def default_section(field: FieldInfo) -> dict[str, Any]:
    """Return the default values of a section; if it has no default, the tag of its first family."""
    default = default_value(field)
    if default != REQUIRED:
        assert isinstance(default, dict)
        return default
    sections = families(field.annotation)
    tag_field, tag = tag_name(sections), next(iter(sections))
    return {tag_field: tag} if tag_field else {}


def with_tags(annotation: Any, values: Any) -> Any:
    """Copy nested values, and add the default tag to each section that has no tag."""
    sections = families(annotation)
    if not sections or not isinstance(values, Mapping):
        return deepcopy(values)
    tag = values.get(tag_name(sections), "")
    section_class = sections[tag if isinstance(tag, str) and tag in sections else next(iter(sections))]
    copied = {}
    for name, value in values.items():
        field = fields_of(section_class).get(name)
        inner = families(field.annotation) if field is not None else {}
        if field is not None and isinstance(value, Mapping) and tag_name(inner) and tag_name(inner) not in value:
            value = {tag_name(inner): default_section(field)[tag_name(inner)], **value}
        copied[name] = deepcopy(value) if field is None else with_tags(field.annotation, value)
    return copied


def list_fields(
    annotation: Any, values: object = None, prefix: str = "", *, is_chosen: bool = True
) -> Iterator[FieldDescription]:
    """Yield all fields of a config class section by section, including the fields of families that are not chosen.

    The nested dicts `values` choose the families and override the defaults. `is_chosen`: whether the families that
    contain the section are chosen.
    """
    section_classes = families(annotation)
    mapping = values if isinstance(values, Mapping) else {}
    tag_field, sections = tag_name(section_classes), dict(section_classes.items())
    active = str(mapping.get(tag_field, next(iter(sections), "")))
    if tag_field and active in sections:
        text = field_docstring(sections[active], tag_field)
        yield FieldDescription(f"{prefix}{tag_field}", " | ".join(sections), active, text, "", is_chosen, is_tag=True)
    listed: set[str] = set()  # a subsection that several families share is listed once
    for tag in sorted(sections, key=lambda tag: tag != active):
        family_values, nested = mapping if tag == active else {}, []
        for name, field in fields_of(sections[tag]).items():
            value = family_values.get(name, default_value(field))
            if families(field.annotation):
                if name not in listed:
                    listed.add(name)
                    nested.append((field.annotation, value, f"{prefix}{name}.", is_chosen and tag == active))
            elif name != tag_field:
                text, kind = field_docstring(sections[tag], name), type_name(field.annotation)
                yield FieldDescription(f"{prefix}{name}", kind, value, text, tag, is_chosen and tag == active)
        for inner, inner_values, inner_prefix, is_inner_chosen in nested:
            yield from list_fields(inner, inner_values, inner_prefix, is_chosen=is_inner_chosen)


def type_name(annotation: Any) -> str:
    """Return the name of a type in the words of YAML: `float | null`, `pre | post`, `list of str`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"list of {type_name(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(map(type_name, arguments))}]"
    if hasattr(annotation, "__metadata__"):  # Annotated[type, bounds]
        return type_name(arguments[0])
    if arguments:
        return " | ".join(map(type_name, arguments))
    return "null" if annotation is NoneType else str(annotation.__name__)


def keys_with_same_meaning(key: str, keys: Iterable[str]) -> list[str]:
    """Return the known keys that end like `key`, or else like one of its `SYNONYMS`."""
    end = key.rpartition(".")[2]
    by_end = ([known for known in keys if f".{known}".endswith(f".{tail}")] for tail in (end, *SYNONYMS.get(end, ())))
    return next(filter(None, by_end), [])


def nearest_key(key: str, keys: list[str]) -> str | None:
    """Return the known key or section that `key` probably means, or None; prefer one with the same meaning.

    For example, `lr` gives `optim.optimizer.lr`, and `modle` gives `model`.
    """
    section, _, name = key.rpartition(".")
    if same := keys_with_same_meaning(key, keys):
        return nearest_name(key, same) or same[0]
    of_section = [known for known in keys if section in ("", known.rpartition(".")[0])]
    siblings = {known.rpartition(".")[2]: known for known in reversed(of_section)}  # of equal names the first
    if not section:
        siblings |= {known.partition(".")[0]: known.partition(".")[0] for known in keys}
    if nearest := nearest_name(name, siblings, min_similarity=0.5 if section else MIN_SIMILARITY):
        return siblings[nearest]
    return None if siblings else nearest_name(key, keys)
