"""Zero config for models of plugins: values are chosen for fields with the usual names."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic.dataclasses import dataclass
from reference.tiny_runs import write_numbers, write_text

import seqlab
from seqlab import registry
from seqlab.models import SETTINGS, LanguageModelConfig, ModelConfig, TransformerConfig, TransformerLmConfig
from seqlab.registry import Entry


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BareConfig(ModelConfig):
    """A translator without fields."""

    family: Literal["bare"] = "bare"
    tasks: ClassVar[tuple[str, ...]] = ("translation",)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BareLmConfig(LanguageModelConfig):
    """A language model with two fields of the usual names, and one other field."""

    family: Literal["bare_lm"] = "bare_lm"
    d_model: int = 7
    dropout: float = 0.0
    color: str = "blue"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BareLabelerConfig(ModelConfig):
    """A labeler without fields."""

    family: Literal["bare_labeller"] = "bare_labeller"
    tasks: ClassVar[tuple[str, ...]] = ("labelling",)


@pytest.fixture(autouse=True)
def _register_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in (BareConfig, BareLmConfig, BareLabelerConfig):
        monkeypatch.setitem(registry._parts["model"], config.family, Entry("model", config.family, config, "", "test"))


def test_a_plugin_translator_without_fields_has_the_default_data_and_training_settings(tmp_path: Path) -> None:
    src, tgt = write_numbers(tmp_path, range(200))
    config = seqlab.config_for({"data.train_src": src, "data.train_tgt": tgt, "model.family": "bare"})
    default = seqlab.config_for({"data.train_src": src, "data.train_tgt": tgt})
    assert config.model == BareConfig()
    assert isinstance(default.model, TransformerConfig)
    assert (config.data, config.training) == (default.data, default.training)
    with_d_model_256 = seqlab.config_for({"data.train_src": src, "data.train_tgt": tgt, "model.d_model": 256})
    assert config.optim == with_d_model_256.optim  # assumed for models without a width


def test_usual_fields_of_a_plugin_language_model_are_chosen(tmp_path: Path) -> None:
    files = write_text(tmp_path, ["one two", "three four"] * 50)
    config = seqlab.config_for({"data.train": files, "model.family": "bare_lm", "model.color": "red"})
    default = seqlab.config_for({"data.train": files})
    assert isinstance(default.model, TransformerLmConfig)
    assert config.model == BareLmConfig(d_model=default.model.d_model, dropout=default.model.dropout, color="red")
    assert config.optim == default.optim


def test_a_plugin_labeler_keeps_its_defaults(tmp_path: Path) -> None:
    src, tgt = write_numbers(tmp_path, range(200))
    fields = {"data.train_src": src, "data.train_tgt": tgt, "data.labels_of": "lines"}
    assert seqlab.config_for({**fields, "model.family": "bare_labeller"}).model == BareLabelerConfig()


@pytest.mark.parametrize(
    ("member", "value", "replacement"),
    [
        ("task", "translation", "`tasks`"),
        ("text_layouts", frozenset({"packed"}), "`abilities`"),
        ("embedding_dim", property(lambda self: 8), "`embedding`"),
        ("translator_weight_name", lambda self, name: name, "`warm_start`"),
    ],
)
def test_a_plugin_for_version_0_3_0_is_told_the_new_name_of_a_member(member: str, value: Any, replacement: str) -> None:
    with pytest.raises(
        TypeError, match=f"`OldConfig.{member}` is now in {replacement}: see `seqlab.models.ModelConfig`"
    ):
        type("OldConfig", (ModelConfig,), {member: value})


def test_a_field_may_have_the_name_of_a_former_member() -> None:
    @dataclass(frozen=True, kw_only=True, config=SETTINGS)
    class NewConfig(ModelConfig):
        family: Literal["new"] = "new"
        embedding_dim: int = 8

    assert NewConfig(embedding_dim=3).embedding_dim == 3
