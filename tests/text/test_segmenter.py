"""The contract of custom segmenters."""

from collections.abc import Iterable, Sequence
from typing import Literal

import pytest
from pydantic.dataclasses import dataclass

from seqlab.text import Segmenter, TrainedTokenizerConfig, pack_ids, train_tokenizer
from seqlab.text.config import SETTINGS


class Fixed(Segmenter):
    vocab_size = 10

    def __init__(self, index: int) -> None:
        self.index = index

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        return [pack_ids([self.index]) for _ in lines]


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class FixedConfig(TrainedTokenizerConfig):
    kind: Literal["fixed"] = "fixed"
    index: int

    def train(self, lines: Iterable[str]) -> Fixed:
        return Fixed(self.index)


@pytest.mark.parametrize("index", [0, 3, 10])
def test_special_and_nonexistent_ids_are_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"`fixed` tokenizer must be from 4 to 9 .* but 'a line' has {index}"):
        train_tokenizer(FixedConfig(index=index), ["", "a line"])


def test_optional_methods_of_a_segmenter_have_defaults() -> None:
    config = FixedConfig(index=4)
    tokenizer = train_tokenizer(config, ["a line"])
    assert tokenizer.encode(["x", ""]) == [[4], [4]]
    assert not any((tokenizer.has_unknown, tokenizer.can_sample, tokenizer.has_words, tokenizer.tag_ids))
    assert tokenizer.unknown_items("x") == tokenizer.unknown_tags("x") == []
    assert config.requested_size is None
