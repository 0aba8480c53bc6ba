"""Splits of number_words: reproducible, disjoint, unambiguous; held-out digit pairs only in `test_combinations`."""

import hashlib
from datetime import datetime, timedelta

import pytest

from seqlab.corpora import CORPORA, locate
from seqlab.corpora.number_words import NUM_LINES, generate, is_held_out, write
from seqlab.corpora.number_words.phrases import (
    StableRandom,
    cardinal_phrase,
    clock_time,
    date,
    draw_phrase,
    short_phrases,
    spoken_time,
)


@pytest.fixture(scope="module", params=[0, 7])
def splits(request):
    return generate(request.param)


def digit_pairs(number):
    """Return (hundreds, units) of each group of three digits, from the decimal string of a number."""
    digits = f"{number:012d}"
    return {(int(digits[i]), int(digits[i + 2])) for i in range(0, 12, 3)}


HELD_OUT = {(hundreds, units) for hundreds in (4, 5, 6) for units in (7, 8, 9)}


def test_is_held_out_follows_its_definition():
    for number in [*range(20_000), *range(20_000, 99_000_000, 9_973)]:
        assert is_held_out(number) == bool(digit_pairs(number) & HELD_OUT)


def test_split_sizes_match_the_description(splits):
    assert {name: len(phrases) for name, phrases in splits.items()} == dict(NUM_LINES)
    assert {name: split.num_lines for name, split in CORPORA["number_words"].splits.items()} == dict(NUM_LINES)


def test_splits_share_no_lines_and_only_train_has_duplicates(splits):
    for language in ("en", "de"):
        lines = {name: [getattr(phrase, language) for phrase in phrases] for name, phrases in splits.items()}
        distinct = {name: set(split_lines) for name, split_lines in lines.items()}
        assert sum(map(len, distinct.values())) == len(set().union(*distinct.values()))
        assert {name for name in lines if len(lines[name]) > len(distinct[name])} == {"train"}


def test_short_phrases_are_in_train_valid_and_a_separate_test_set(splits):
    short = {phrase.en for phrase in short_phrases()}
    counts = {name: sum(phrase.en in short for phrase in phrases) for name, phrases in splits.items()}
    assert counts["test_short"] == len(splits["test_short"])
    assert counts["train"] > 3000
    assert counts["valid"] == 50
    assert counts["test"] == 0
    all_lines = {phrase.en for phrases in splits.values() for phrase in phrases}
    missing = {phrase.en for phrase in short_phrases() if phrase.en not in all_lines}
    held_out = {phrase.en for phrase in short_phrases() if any(map(is_held_out, phrase.numbers))}
    assert missing <= held_out  # `test_combinations` contains some of them


def test_short_phrases_are_complete():
    lines = [phrase.en for phrase in short_phrases()]
    assert len(lines) == len(set(lines))
    for number in range(1001):
        assert cardinal_phrase(number).en in lines
    for year in (2023, 2024):  # a common year and a leap year
        for day in (datetime(year, 1, 1) + timedelta(days=days) for days in range(365 + (year == 2024))):
            assert {date(day.day, day.month).en, date(day.day, day.month, on=True).en} <= set(lines)
    quarters = [spoken_time(hour, minute).en for hour in range(1, 13) for minute in (0, 15, 30, 45)]
    assert {*quarters, *(f"at {quarter}" for quarter in quarters)} <= set(lines)
    assert {clock_time(hour, minute).en for hour in range(24) for minute in (0, 15, 30, 45)} <= set(lines)


def test_held_out_combinations_are_only_in_test_combinations(splits):
    for name, phrases in splits.items():
        for phrase in phrases:
            pairs = set().union(*map(digit_pairs, phrase.numbers))
            assert bool(pairs & HELD_OUT) == (name == "test_combinations"), phrase


def test_held_out_combinations_never_appear_in_the_german_text(splits):
    """Check the German text itself, without `Phrase.numbers`."""
    import re

    hundreds, units = "(vier|fünf|sechs|vierzehn|fünfzehn|sechzehn)", "(sieben|acht|neun)"
    tens = "(und(zwan|drei|vier|fünf|sech|sieb|acht|neun)(zig|ßig))?"
    pattern = re.compile(rf"(?:^|tausend|Millionen |Million |\b){hundreds}hundert{units}{tens}(?!und|hundert|zig|zehn)")
    for name in ("train", "valid", "test", "test_short"):
        assert not [phrase.de for phrase in splits[name] if pattern.search(phrase.de)]
    found = [phrase.de for phrase in splits["test_combinations"] if pattern.search(phrase.de)]
    assert len(found) > 0.7 * len(splits["test_combinations"])  # the others have -zehn: siebzehn, achtzehn, neunzehn


def test_train_has_all_digit_combinations_that_are_not_held_out(splits):
    pairs = set().union(*(digit_pairs(number) for phrase in splits["train"] for number in phrase.numbers))
    assert pairs == {(hundreds, units) for hundreds in range(10) for units in range(10)} - HELD_OUT
    tested = set().union(*(digit_pairs(n) for phrase in splits["test_combinations"] for n in phrase.numbers))
    assert tested >= HELD_OUT


def test_every_word_of_the_test_splits_occurs_in_train(splits):
    words = {word for phrase in splits["train"] for word in phrase.en.replace("-", " ").split()}
    for name in ("valid", "test", "test_combinations", "test_short"):
        assert {word for phrase in splits[name] for word in phrase.en.replace("-", " ").split()} <= words


def test_each_english_phrase_has_one_german_phrase():
    draw = StableRandom(123)
    german: dict[str, str] = {}
    for _ in range(100_000):
        phrase = draw_phrase(draw)
        assert german.setdefault(phrase.en, phrase.de) == phrase.de


def test_written_files_are_reproducible_and_match_their_checksums(tmp_path):
    written = write(tmp_path, seed=5)
    assert locate("number_words", tmp_path) == written  # compares every checksum
    first = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert len(first) == 10
    write(tmp_path, seed=5)
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()} == first
    write(tmp_path, seed=6)
    with pytest.raises(ValueError, match=r"train\.en differs from the file of the corpus number_words"):
        locate("number_words", tmp_path)


def test_written_files_have_the_phrases_as_lines(tmp_path):
    written, phrases = write(tmp_path, seed=6), generate(6)
    for split, files in written.items():
        assert files["en"].read_text("utf-8").split("\n") == [*(phrase.en for phrase in phrases[split]), ""]
        assert files["de"].read_text("utf-8").split("\n") == [*(phrase.de for phrase in phrases[split]), ""]
