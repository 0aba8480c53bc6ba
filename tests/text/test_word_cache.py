"""Word cache, compared with the ids that the libraries give for complete lines."""

import json
import pickle
from collections.abc import Callable

import pytest
import sentencepiece
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SentencePieceBpeConfig,
    SentencePieceUnigramConfig,
    Tokenizer,
    TokenizerConfig,
    WordsConfig,
    train_tokenizer,
)
from seqlab.text.segmenter import WordCache, unpack_ids

TEXT = [f"it's line {n},  with\tthe words   {n % 7}\u3000and {n * n} " for n in range(300)]
SUBWORDS = {
    "sentencepiece_bpe": SentencePieceBpeConfig(vocab_size=330),
    "sentencepiece_unigram": SentencePieceUnigramConfig(vocab_size=330),
    "bpe": BpeConfig(vocab_size=400),
}
KINDS: dict[str, TokenizerConfig] = SUBWORDS | {"characters": CharactersConfig(), "words": WordsConfig(vocab_size=20)}
TOKENIZERS: dict[str, Tokenizer] = {}
line = st.lists(st.sampled_from([*" '\t\u3000\u2028.19aé中", "line", "with", "'s", "and", "words"])).map("".join)


def get_tokenizer(kind: str) -> Tokenizer:
    if kind not in TOKENIZERS:
        TOKENIZERS[kind] = train_tokenizer(KINDS[kind], TEXT)
    return TOKENIZERS[kind]


def library_encoder(kind: str) -> Callable[[str], list[int]]:
    """Return a function that encodes a complete line with the library."""
    _, (_, content) = get_tokenizer(kind).__reduce__()  # type: ignore[misc]
    if kind == "bpe":
        model = tokenizers.Tokenizer.from_str(content.decode())  # type: ignore[union-attr]
        return lambda line: [index + 4 for index in model.encode(f" {line}" if line else "").ids]
    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    return lambda line: processor.encode(line)


@pytest.mark.parametrize("kind", SUBWORDS)
@settings(max_examples=300)
@given(lines=st.lists(line, max_size=6))
@example(lines=[" \t", " \ta", "a\t \tb", "a\tb\u3000c", "\ta", "a\t"])
@example(lines=["", " ", "  ", "   ", "a  b", " a", "a ", "a\t b", "a \tb", "a\t  b", "a\u3000 ", "it's 's '"])
def test_cached_words_give_the_ids_of_the_complete_line(kind: str, lines: list[str]) -> None:
    encode_by_library = library_encoder(kind)
    assert get_tokenizer(kind).encode(lines) == [encode_by_library(line) for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_encode_flat_gives_the_ids_of_encode(kind: str) -> None:
    for lines in (TEXT, ["", "words", "", "and and", ""], []):
        flat = get_tokenizer(kind).encode_flat(lines)
        rows = get_tokenizer(kind).encode(lines)
        assert flat.ids.tolist() == [index for row in rows for index in row]
        assert flat.lengths.tolist() == [len(row) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_can_be_pickled(kind: str) -> None:
    tokenizer = get_tokenizer(kind)
    tokenizer.encode(TEXT)
    content = pickle.dumps(tokenizer)
    unpickled = pickle.loads(content)
    assert unpickled.encode(TEXT) == tokenizer.encode(TEXT)
    assert unpickled.config == KINDS[kind]
    assert len(content) < 60_000, "cached words are not pickled"


def test_clearing_the_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqlab.text.segmenter.MAX_CACHED_WORDS", 3)
    cache = WordCache(lambda word: json.loads(word or "[]"))
    for line in ("[1] [2] [3,4]", "[5] [1] [6]", "[1]  [7]", "", "[6] [5] [4] [3] [2] [1]"):
        assert unpack_ids(cache.encode(line)) == [int(char) for char in line if char.isdigit()]
        assert len(cache) <= 3
