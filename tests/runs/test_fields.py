"""Descriptions of config fields: keys against pydantic's JSON schema, defaults, types and docstrings."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from seqlab.runs.config import Config, to_dict
from seqlab.runs.fields import REQUIRED, FieldDescription, list_fields
from seqlab.runs.overrides import override
from seqlab.tasks.translation.config import TranslationConfig

CORPUS = {"data": {"train_src": ["a.en"], "train_tgt": ["a.de"]}}


def schema_fields(
    schema: dict[str, Any], definitions: dict[str, Any], prefix: str, family: str
) -> set[tuple[str, str]]:
    """Collect (key, family) pairs from a JSON schema; tag fields (`family`, `kind`) have an empty family."""
    if "$ref" in schema:
        return schema_fields(definitions[schema["$ref"].rpartition("/")[2]], definitions, prefix, family)
    if "oneOf" in schema:
        return set().union(*(schema_fields(option, definitions, prefix, family) for option in schema["oneOf"]))
    if "properties" not in schema:
        return {(prefix[:-1], family)}
    properties = schema["properties"]
    tag = next((name for name, field in properties.items() if "const" in field), "")
    families = [properties[tag]["const"]] if tag else [""]
    if "enum" in properties.get("family", {}):  # a class with several names
        tag, families = "family", properties["family"]["enum"]
    fields: set[tuple[str, str]] = set()
    for own_family in families:
        for name, field in properties.items():
            inner = field["allOf"][0] if "allOf" in field else field
            fields |= schema_fields(inner, definitions, f"{prefix}{name}.", "" if name == tag else own_family)
    return fields


def test_every_field_of_every_family_is_listed_once() -> None:
    schema = TypeAdapter(Config).json_schema()
    listed = [(field.key, field.family) for field in list_fields(Config)]
    assert len(listed) == len(set(listed))
    assert set(listed) == schema_fields(schema, schema["$defs"], "", "")


def test_values_of_a_config_replace_defaults() -> None:
    config = override(CORPUS, [("optim.optimizer.family", "sgd"), ("optim.optimizer.lr", "0.25"), ("seed", "7")])
    fields = {(field.key, field.family): field for field in list_fields(Config, to_dict(config)) if field.is_chosen}
    assert fields["optim.optimizer.family", ""].default == "sgd"
    assert fields["optim.optimizer.lr", "sgd"].default == 0.25
    assert fields["seed", ""].default == 7
    assert fields["data.train_src", "translation"].default == ["a.en"]
    assert ("optim.optimizer.lr", "adam") not in fields


def test_defaults_equal_those_of_the_classes() -> None:
    fields = {(field.key, field.family): field for field in list_fields(Config)}
    assert fields["data.train_src", "translation"].default == REQUIRED
    defaults = to_dict(override(CORPUS, []))
    for (key, _), field in fields.items():
        if not field.is_chosen or key in ("data.train_src", "data.train_tgt", "data.train_weights"):
            continue
        if key in TranslationConfig.defaults and field.default is None:
            continue  # the task sets this default
        value: Any = defaults
        for part in key.split("."):
            value = value[part]
        assert field.default == value, key


@pytest.mark.parametrize("field", list(list_fields(Config)), ids=lambda field: f"{field.key}-{field.family}")
def test_every_field_has_a_docstring(field: FieldDescription) -> None:
    assert field.text or field.key.endswith((".family", ".kind"))
    assert "\n" not in field.text
    assert "Annotated" not in field.type
    assert "<" not in field.type


def test_readable_type_names() -> None:
    types = {field.key: field.type for field in list_fields(Config) if field.is_chosen}
    assert types["seed"] == "int"
    assert types["optim.max_grad_norm"] == "float | null"
    assert types["data.train_src"] == "list of str"
    assert types["data.train_weights"] == "list of float"
    assert types["optim.optimizer.betas"] == "[float, float]"
    assert types["model.norm"] == "pre | post"
    assert (
        types["optim.schedule.family"]
        == "constant | linear | inverse_sqrt | cosine | exponential | one_cycle | plateau"
    )
