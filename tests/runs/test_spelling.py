"""Spelling against interpolated counts, as a distribution over strings, and through a folder."""

import itertools
import math
from pathlib import Path

import pytest
from reference.kneser_ney import KneserNey

from seqlab.runs.spelling import ORDER, SpellingModel, load_spelling, rare_items
from seqlab.text import BpeConfig, CharactersConfig, WordsConfig, train_tokenizer

ITEMS = ["Straße", "Strand", "Rand", "größer", "日本", "naïve", "na", "abc"]
STRINGS = ["", "a", "Strand", "Strang", "é", "日", "🙂", "x" * 40, "\x00", "größte"]


@pytest.fixture(scope="module")
def spelling() -> SpellingModel:
    return SpellingModel.learn(ITEMS)


def test_a_spelling_costs_what_the_equations_say(spelling: SpellingModel) -> None:
    """Bytes as ids behind pad, bos and eos, by the reference in plain dicts."""
    rows = [[byte + 3 for byte in item.encode()] for item in ITEMS]
    reference = KneserNey(rows, ORDER, 3 + 256, (0, 1, 2), "lines")
    for string in STRINGS:
        ids = [1, *(byte + 3 for byte in string.encode()), 2]
        assert spelling.log_prob(string) == pytest.approx(sum(reference.log_probs(ids)))


def test_every_string_has_a_probability_and_all_have_one_in_sum(spelling: SpellingModel) -> None:
    assert all(-math.inf < spelling.log_prob(string) < 0 for string in STRINGS)
    characters = [chr(code) for code in range(128)]
    pairs = map("".join, itertools.product(characters[97:123], repeat=2))
    short = ["", *characters, *pairs, *ITEMS, *STRINGS]
    assert 0 < math.fsum(math.exp(spelling.log_prob(string)) for string in set(short)) < 1


def test_what_looks_like_the_learnt_is_likelier(spelling: SpellingModel) -> None:
    assert spelling.log_prob("Stranße") > spelling.log_prob("qzjxkwv")
    assert spelling.log_prob("na") > spelling.log_prob("an")


def test_a_folder_keeps_it(spelling: SpellingModel, tmp_path: Path) -> None:
    spelling.save(tmp_path / "spelling")
    loaded = load_spelling(tmp_path / "spelling")
    assert loaded is not None
    assert [loaded.log_prob(string) for string in STRINGS] == [spelling.log_prob(string) for string in STRINGS]
    assert load_spelling(tmp_path / "none") is None
    SpellingModel.learn(["others"]).save(tmp_path / "spelling")  # a run that is begun anew
    replaced = load_spelling(tmp_path / "spelling")
    assert replaced is not None
    assert replaced.log_prob("others") > loaded.log_prob("others")


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda content: b"", lambda content: b"x" * 99])
def test_a_damaged_file_is_named(spelling: SpellingModel, tmp_path: Path, damage) -> None:
    spelling.save(tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"model.safetensors is damaged .*; restore it from a copy"):
        load_spelling(tmp_path)


def test_spelling_is_learnt_from_what_is_rare() -> None:
    lines = ["one two two three", "two three four", "  ", "four ", "three"]
    words = train_tokenizer(WordsConfig(min_count=3), lines)
    assert rare_items(lines, words) == ["four", "one"]  # twice but unknown, and once
    every_word = train_tokenizer(WordsConfig(), lines)
    assert rare_items(lines, every_word) == ["one"]
    assert rare_items(["one two", "two one"], every_word) == ["one", "two"]  # nothing is rare
    characters = train_tokenizer(CharactersConfig(), ["abba"])
    assert rare_items(["aab", "xx"], characters) == ["b", "x"]


def test_kinds_that_know_every_text_need_no_spelling() -> None:
    assert not train_tokenizer(BpeConfig(vocab_size=300), ITEMS).has_unknown
