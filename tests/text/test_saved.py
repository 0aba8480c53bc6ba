"""Existing tokenizers as configs, and the vocabulary items of lines."""

from pathlib import Path

import pytest

from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SavedConfig,
    SentencePieceBpeConfig,
    TokenizerConfig,
    WordsConfig,
    tokenizer_sha256,
    train_tokenizer,
)

LINES = ["ein Hund rennt über die Straße", "ein  Kind rennt", "größer café"] * 5
CONFIGS: dict[str, TokenizerConfig] = {
    "bpe": BpeConfig(vocab_size=300),
    "sentencepiece_bpe": SentencePieceBpeConfig(vocab_size=300),
    "characters": CharactersConfig(),
    "words": WordsConfig(),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_existing_tokenizer_is_loaded_unchanged(tmp_path: Path, kind: str) -> None:
    original = train_tokenizer(CONFIGS[kind], LINES)
    original.save(tmp_path / "one")

    def lines():
        raise AssertionError("the text is not read")
        yield ""

    loaded = train_tokenizer(SavedConfig(folder=str(tmp_path / "one")), lines())
    assert loaded.encode(LINES) == original.encode(LINES)
    loaded.save(tmp_path / "two")  # as into the folder of another run
    assert tokenizer_sha256(tmp_path / "two") == tokenizer_sha256(tmp_path / "one")


def test_errors_name_folders_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the folder of a tokenizer"):
        train_tokenizer(SavedConfig(folder=str(tmp_path)), LINES)


def test_items_are_the_normalized_words_or_characters_of_a_line() -> None:
    words = train_tokenizer(WordsConfig(), LINES)
    assert words.items("  ein\tHund  u\u0308ber\u2028x ") == ["ein", "Hund", "über", "x"]
    characters = train_tokenizer(CharactersConfig(), LINES)
    assert characters.items("a  u\u0308\t") == ["a", " ", " ", "ü", "\t"]
    assert words.items("") == characters.items("") == []


@pytest.mark.parametrize("kind", CONFIGS)
def test_unknown_items_are_encoded_as_unk(kind: str) -> None:
    tokenizer = train_tokenizer(CONFIGS[kind], LINES)
    for line in ("ein Hund", "ein Ωmega 漢 Hund u\u0308ber", " <unk> </s> ", "", "\ud800"):
        [ids] = tokenizer.encode([line])
        unknown = tokenizer.unknown_items(line)
        assert ids.count(tokenizer.unk_id) == len(unknown)
        if unknown:
            positions = [position for position, index in enumerate(ids) if index == tokenizer.unk_id]
            assert [tokenizer.items(line)[position] for position in positions] == unknown
    assert tokenizer.has_unknown == (kind in ("characters", "words"))
    words = train_tokenizer(CONFIGS["words"], LINES)
    assert words.unknown_items("ein Ωmega Hund u\u0308ber ein Ωmega") == ["Ωmega", "Ωmega"]
