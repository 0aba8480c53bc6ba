"""Validation of the config of text."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from seqlab.data.config import DataConfig
from seqlab.runs.fields import field_docstring
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig


def test_a_single_corpus_becomes_a_list_and_survives_a_round_trip() -> None:
    config = LanguageModellingConfig(train="a.txt", valid="b.tsv#0")  # type: ignore[arg-type]
    assert (config.train, config.valid) == (["a.txt"], ["b.tsv#0"])
    assert config.input_specs() == ["a.txt", "b.tsv#0"]
    assert config.names() == ("a.txt",)
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
        ({"block_length": 1}, "greater than or equal to 2"),
        ({"valid_fraction": 0.0}, "greater than 0"),
        ({"valid_fraction": 1.0}, "less than 1"),
        ({"documents": "paragraphs"}, "'lines' or 'continuous'"),
        ({"train_src": "a"}, "train_src"),
    ],
)
def test_invalid_options_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModellingConfig(**({"train": ["a"]} | settings))


def test_every_field_is_documented() -> None:
    fields = LanguageModellingConfig.__pydantic_fields__  # type: ignore[attr-defined]
    assert not [name for name in fields if not field_docstring(LanguageModellingConfig, name)]
