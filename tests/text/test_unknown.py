"""Ids of unknown source words: round trips, and the same ids in source and target."""

import pytest

from seqlab.text import Tokenizer, WordsConfig, encode_unknown, find_unknown, train_tokenizer


@pytest.fixture
def tokenizer() -> Tokenizer:
    return train_tokenizer(WordsConfig(), ["a man named runs home"])


SRC = ["a man named Xerxes", "Bo runs home", "a man runs", "Bo named Al and Bo"]
TGT = ["Xerxes runs", "home Bo home", "a man named Al", "Al and Bo and Cy"]


def test_unknown_words_of_a_source_are_numbered(tokenizer: Tokenizer) -> None:
    unknown, size, unk = find_unknown(tokenizer, SRC), tokenizer.vocab_size, tokenizer.unk_id
    assert unknown == [["Xerxes"], ["Bo"], [], ["Bo", "Al", "and"]]
    src, tgt = (encode_unknown(tokenizer, lines, unknown) for lines in (SRC, TGT))
    assert src[3] == [size, tokenizer.encode(["named"])[0][0], size + 1, size + 2, size]
    assert tgt[3] == [size + 1, size + 2, size, size + 2, unk]
    assert tgt[2][-1] == unk
    assert tokenizer.decode(src, unknown) == SRC
    assert tokenizer.decode(tgt, unknown) == [*TGT[:2], "a man named <unk>", "Al and Bo and <unk>"]


def test_lines_without_unknown_words_are_encoded_as_usual(tokenizer: Tokenizer) -> None:
    assert encode_unknown(tokenizer, SRC, [[] for _ in SRC]) == tokenizer.encode(SRC)
    with pytest.raises(ValueError, match=f"from 0 to {tokenizer.vocab_size - 1}"):
        tokenizer.decode([[tokenizer.vocab_size]], [[]])
