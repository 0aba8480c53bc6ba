"""Configs of the data: defaults, older files, validation and documented fields."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from seqlab.data.config import DataConfig
from seqlab.runs.fields import field_docstring, fields_of
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig


def test_a_single_parallel_corpus_becomes_a_list_and_weights_have_defaults() -> None:
    config = TranslationConfig(train_src="a.de", train_tgt="a.en")  # type: ignore[arg-type]
    assert config.train_src == ["a.de"]
    assert config.train_weights == [1.0]
    assert replace(config, train_src=["a", "c"], train_tgt=["b", "d"]).train_weights == [1.0, 1.0]
    adapter = TypeAdapter(TranslationConfig)
    assert adapter.validate_python(adapter.dump_python(config)) == config


@pytest.mark.parametrize(("given", "expected"), [(None, []), ("w", ["w"]), (["w", "x"], ["w", "x"])])
def test_a_validation_target_may_have_further_references(given: Any, expected: list[str]) -> None:
    """Older config files have a single path spec or null."""
    valid_src = "v" if given else None
    config = TranslationConfig(train_src=["a"], train_tgt=["b"], valid_src=valid_src, valid_tgt=given)
    assert config.valid_tgt == expected
    assert config.input_specs() == ["a", "b", *(["v"] if given else []), *expected]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_tgt": ["b", "c"]}, "`train_src` and `train_tgt` need one file each per corpus, but have 1 and 2"),
        ({"train_src": []}, "train_src"),
        ({"train_weights": [1.0, 2.0]}, r"`train_weights` needs one number per corpus \(1\), but has 2"),
        ({"train_weights": [0.0]}, "`train_weights\\[0\\]` must be at least"),
        ({"train_weights": [float("inf")]}, "`train_weights\\[0\\]` must be a finite number"),
        ({"valid_src": "v"}, "`valid_src` is set, so `valid_tgt` must be set too"),
        ({"valid_tgt": "v"}, "`valid_tgt` is set, so `valid_src` must be set too"),
        ({"test_src": "v"}, "`test_src` and `test_tgt` need one file each"),
        ({"max_lenght": 3}, "max_lenght"),
        ({"subword_sampling": 1.0}, "less than 1"),
        ({"tokenizer": {"kind": "same"}}, "so only a target can have it"),
        ({"tokenizer_tgt": {"kind": "words"}}, "set `joint_vocabulary: false`"),
        (
            {"tokenizer_tgt": {"kind": "words"}, "joint_vocabulary": False, "subword_sampling": 0.1},
            "`subword_sampling` must be 0 for a `words` tokenizer",
        ),
    ],
)
def test_invalid_options_of_translation_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TranslationConfig(**({"train_src": "a", "train_tgt": "b"} | settings))


def test_a_single_text_becomes_a_list_and_the_config_survives_a_round_trip() -> None:
    config = LanguageModellingConfig(train="a.txt", valid="b.tsv#0")  # type: ignore[arg-type]
    assert (config.train, config.valid) == (["a.txt"], ["b.tsv#0"])
    assert config.input_specs() == ["a.txt", "b.tsv#0"]
    assert config.run_name_specs() == ("a.txt",)
    adapter: TypeAdapter[Any] = TypeAdapter(DataConfig)
    assert adapter.validate_python(adapter.dump_python(config)) == config
    assert isinstance(
        adapter.validate_python({"kind": "translation", "train_src": "a", "train_tgt": "b"}), TranslationConfig
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": []}, "train"),
        (
            {"order": "contiguous"},
            "with `documents: lines` each line is a separate text: set `documents: continuous`",
        ),
        ({"documents": "continuous", "vary_block_length": True}, "`vary_block_length` requires `order: contiguous`"),
        ({"documents": "continuous", "packing": True}, "`packing` requires `documents: lines`"),
        ({"block_length": 1}, "must be at least 2"),
        ({"valid_fraction": 0.0}, "greater than 0"),
        ({"valid_fraction": 1.0}, "less than 1"),
        ({"documents": "paragraphs"}, "'lines' or 'continuous'"),
        ({"train_src": "a"}, "train_src"),
    ],
)
def test_invalid_options_of_language_modelling_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModellingConfig(**({"train": ["a"]} | settings))


def test_every_field_is_documented() -> None:
    for section in (TranslationConfig, LabellingConfig, LanguageModellingConfig):
        names = {*fields_of(section), *section.__pydantic_fields__}  # type: ignore[attr-defined]
        assert not [name for name in names if not field_docstring(section, name)]
