"""Training tokenizers: limits, small and unusual texts, and reproducibility."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SentencePieceBpeConfig,
    SentencePieceUnigramConfig,
    TokenizerConfig,
    WordsConfig,
    load_tokenizer,
    train_tokenizer,
)

LINES = [f"line {n} has the words {n % 7} and {n * n}" for n in range(500)]
CONFIGS = [
    SentencePieceBpeConfig(vocab_size=300),
    SentencePieceUnigramConfig(vocab_size=300),
    BpeConfig(vocab_size=300),
    CharactersConfig(vocab_size=20),
    WordsConfig(vocab_size=20),
]
CONFIGS_WITH_LINE_LIMIT = [
    SentencePieceBpeConfig(vocab_size=300, max_train_lines=101),
    SentencePieceUnigramConfig(vocab_size=300, max_train_lines=101),
]
every_kind = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
SUBWORDS = CONFIGS[:3]
every_subword_kind = pytest.mark.parametrize("config", SUBWORDS, ids=lambda config: config.kind)


def train_and_hash(config: TokenizerConfig, folder: Path) -> str:
    """Train and save a tokenizer; return the hash of its files."""
    train_tokenizer(config, LINES).save(folder)
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


def run_in_new_process(code: str, *arguments: str, hash_seed: str = "0") -> str:
    """Run code with the names of this module in another process; return its standard output."""
    here = Path(__file__)
    code = f"import sys; sys.path.insert(0, {str(here.parent)!r}); from {here.stem} import *\n{code}"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, env=environment, capture_output=True, text=True
    ).stdout


@every_kind
def test_the_vocabulary_has_the_requested_size_if_the_text_suffices(config: TokenizerConfig) -> None:
    assert train_tokenizer(config, iter(LINES)).vocab_size == config.vocab_size


@every_kind
def test_the_same_text_gives_the_same_bytes_twice(config: TokenizerConfig, tmp_path: Path) -> None:
    assert train_and_hash(config, tmp_path / "a") == train_and_hash(config, tmp_path / "b")


def test_the_same_text_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    code = "for config in CONFIGS: print(train_and_hash(config, Path(sys.argv[1]) / config.kind))"
    digests = run_in_new_process(code, str(tmp_path / "other"), hash_seed="1").split()
    assert digests == [train_and_hash(config, tmp_path / config.kind) for config in CONFIGS]


@every_kind
@pytest.mark.parametrize("lines", [[], [""], [" ", "\t\u2028"]])
def test_an_empty_text_is_refused(config: TokenizerConfig, lines: list[str]) -> None:
    with pytest.raises(ValueError, match="is empty"):
        train_tokenizer(config, lines)


@every_kind
def test_a_text_too_small_for_the_vocabulary_gives_a_smaller_one(config: TokenizerConfig) -> None:
    tokenizer = train_tokenizer(config, ["ab ba"])
    assert config.vocab_size is not None
    assert tokenizer.vocab_size < config.vocab_size
    assert tokenizer.decode(tokenizer.encode(["ab ba"])) == ["ab ba"]


@every_subword_kind
@settings(max_examples=40)
@given(text=st.lists(st.text(alphabet=st.characters(exclude_characters="\n")), max_size=5))
def test_any_small_text_can_be_trained_on(config: TokenizerConfig, text: list[str]) -> None:
    tokenizer = train_tokenizer(TypeAdapter(type(config)).validate_python({"vocab_size": 1000}), [*text, "x"])
    assert tokenizer.decode(tokenizer.encode(text)) == [tokenizer.normalize(line) for line in text]


@every_subword_kind
@pytest.mark.parametrize("character", ["\t", "\0", "▅", "\u2028", "▁", "\x10"])
def test_training_uses_lines_with_characters_reserved_by_the_library(config: TokenizerConfig, character: str) -> None:
    tokenizer = train_tokenizer(config, [f"{line} {character}" for line in LINES])
    assert sum(map(len, tokenizer.encode(LINES))) < sum(map(len, LINES))  # single characters would be more


@pytest.mark.parametrize("config", SUBWORDS[:2], ids=lambda config: config.kind)
def test_training_uses_long_lines(config: TokenizerConfig) -> None:
    tokenizer, plain = train_tokenizer(config, [" ".join(LINES)]), train_tokenizer(config, LINES)
    assert sum(map(len, tokenizer.encode(LINES))) < 1.1 * sum(map(len, plain.encode(LINES)))


@pytest.mark.parametrize("config", SUBWORDS[:2], ids=lambda config: config.kind)
def test_errors_for_a_small_vocab_size_name_the_size_needed(config: TokenizerConfig) -> None:
    alphabet = ["".join(map(chr, range(0x4E00, 0x4E00 + 100)))]
    with pytest.raises(ValueError, match=r"`vocab_size` must be at least 361 .* but is 300 instead"):
        train_tokenizer(config, alphabet)
    enough = TypeAdapter(type(config)).validate_python({"vocab_size": 361})
    assert train_tokenizer(enough, alphabet).vocab_size == 361


@pytest.mark.parametrize(
    ("config", "sampled"), [*zip(SUBWORDS[:2], CONFIGS_WITH_LINE_LIMIT, strict=True)], ids=["bpe", "unigram"]
)
def test_max_train_lines_limits_the_training_text(config: TokenizerConfig, sampled: TokenizerConfig) -> None:
    first, second = (train_tokenizer(sampled, (line for line in LINES)) for _ in range(2))
    assert first.encode(LINES) == second.encode(LINES) != train_tokenizer(config, LINES).encode(LINES)


def test_a_sample_of_lines_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = "for config in CONFIGS_WITH_LINE_LIMIT: print(train_and_hash(config, Path(sys.argv[1]) / config.kind))"
    digests = run_in_new_process(code, str(tmp_path / "other")).split()
    assert digests == [train_and_hash(config, tmp_path / config.kind) for config in CONFIGS_WITH_LINE_LIMIT]


def test_a_vocabulary_keeps_the_most_frequent_items() -> None:
    counts = Counter(word for line in LINES for word in line.split())
    tokenizer = train_tokenizer(WordsConfig(min_count=3, vocab_size=12), LINES)
    kept = set(tokenizer.tokens(range(4, tokenizer.vocab_size)))
    assert len(kept) == 8
    assert min(counts[word] for word in kept) >= max(counts[word] for word in counts.keys() - kept)
    tokenizer = train_tokenizer(CharactersConfig(min_count=3), ["aaa bbb cc"])
    assert tokenizer.tokens(range(4, tokenizer.vocab_size)) == ["a", "b"]


@pytest.mark.parametrize("config_type", [SentencePieceBpeConfig, SentencePieceUnigramConfig, BpeConfig])
def test_a_vocabulary_without_room_for_the_bytes_is_refused(config_type: type) -> None:
    with pytest.raises(ValueError, match="vocab_size"):
        config_type(vocab_size=259)


@every_kind
def test_a_saved_tokenizer_is_the_same_after_the_folder_moved(config: TokenizerConfig, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(config, LINES)
    tokenizer.save(tmp_path / "before" / "tokenizer")
    (tmp_path / "before").rename(tmp_path / "after")
    loaded = load_tokenizer(tmp_path / "after" / "tokenizer")
    lines = [*LINES, "something else \u2028 <s>"]
    assert loaded.encode(lines) == tokenizer.encode(lines)
    assert loaded.decode(loaded.encode(lines)) == tokenizer.decode(tokenizer.encode(lines))
    assert loaded.tokens(range(loaded.vocab_size)) == tokenizer.tokens(range(tokenizer.vocab_size))
    assert loaded.config == config


@every_kind
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_errors_for_a_damaged_folder_name_the_file(config: TokenizerConfig, name: str, tmp_path: Path) -> None:
    train_tokenizer(config, LINES).save(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    for damaged in (b"", content[:-10], b"\xff" + content[1:], b"null", b"{}"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            load_tokenizer(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        load_tokenizer(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"tokenizer\.json is missing"):
        load_tokenizer(tmp_path / "file")


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    train_tokenizer(WordsConfig(), LINES).save(tmp_path)
    path = tmp_path / "tokenizer.json"
    text = path.read_text()
    path.write_text(text.replace('"format_version": 1', '"format_version": 99'))
    with pytest.raises(ValueError, match="format version 99"):
        load_tokenizer(tmp_path)
    path.write_text(text.replace('"words"', '"sentences"'))
    with pytest.raises(ValueError, match=r"tokenizer\.json: There is no tokenizer 'sentences'"):
        load_tokenizer(tmp_path)
