"""What the splits promise: reproducible, disjoint, unambiguous, and free of held-out combinations."""

import hashlib

import pytest

from seqlab.corpora import CORPORA, locate
from seqlab.corpora.number_words import NUM_LINES, generate, is_held_out, write
from seqlab.corpora.number_words.phrases import Draw, draw_phrase


@pytest.fixture(scope="module", params=[0, 7])
def splits(request):
    return generate(request.param)


def digit_pairs(number):
    """The (hundreds, units) of each group of three digits, from the number's decimal string."""
    digits = f"{number:012d}"
    return {(int(digits[i]), int(digits[i + 2])) for i in range(0, 12, 3)}


HELD_OUT = {(hundreds, units) for hundreds in (4, 5, 6) for units in (7, 8, 9)}


def test_is_held_out_is_its_definition():
    for number in [*range(20_000), *range(20_000, 99_000_000, 9_973)]:
        assert is_held_out(number) == bool(digit_pairs(number) & HELD_OUT)


def test_sizes_are_those_of_the_description(splits):
    assert {name: len(phrases) for name, phrases in splits.items()} == dict(NUM_LINES)
    assert {name: split.num_lines for name, split in CORPORA["number_words"].splits.items()} == dict(NUM_LINES)


def test_no_line_of_either_language_occurs_twice(splits):
    phrases = [phrase for split in splits.values() for phrase in split]
    assert len({phrase.en for phrase in phrases}) == len({phrase.de for phrase in phrases}) == len(phrases)


def test_only_test_combinations_has_held_out_combinations(splits):
    for name, phrases in splits.items():
        for phrase in phrases:
            pairs = set().union(*map(digit_pairs, phrase.numbers))
            assert bool(pairs & HELD_OUT) == (name == "test_combinations"), phrase


def test_held_out_combinations_never_appear_in_the_german_text(splits):
    """The same promise read off the text, without the numbers that the phrases carry."""
    import re

    hundreds, units = "(vier|fünf|sechs|vierzehn|fünfzehn|sechzehn)", "(sieben|acht|neun)"
    tens = "(und(zwan|drei|vier|fünf|sech|sieb|acht|neun)(zig|ßig))?"
    pattern = re.compile(rf"(?:^|tausend|Millionen |Million |\b){hundreds}hundert{units}{tens}(?!und|hundert|zig|zehn)")
    for name in ("train", "valid", "test"):
        assert not [phrase.de for phrase in splits[name] if pattern.search(phrase.de)]
    found = [phrase.de for phrase in splits["test_combinations"] if pattern.search(phrase.de)]
    assert len(found) > 0.7 * len(splits["test_combinations"])  # the others have -zehn: siebzehn, achtzehn, neunzehn


def test_train_has_each_digit_of_the_held_out_combinations_in_others(splits):
    pairs = set().union(*(digit_pairs(number) for phrase in splits["train"] for number in phrase.numbers))
    assert pairs == {(hundreds, units) for hundreds in range(10) for units in range(10)} - HELD_OUT
    tested = set().union(*(digit_pairs(n) for phrase in splits["test_combinations"] for n in phrase.numbers))
    assert tested >= HELD_OUT


def test_every_word_of_the_test_splits_occurs_in_train(splits):
    words = {word for phrase in splits["train"] for word in phrase.en.replace("-", " ").split()}
    for name in ("valid", "test", "test_combinations"):
        assert {word for phrase in splits[name] for word in phrase.en.replace("-", " ").split()} <= words


def test_german_is_a_function_of_english():
    draw = Draw(123)
    german: dict[str, str] = {}
    for _ in range(100_000):
        phrase = draw_phrase(draw)
        assert german.setdefault(phrase.en, phrase.de) == phrase.de


def test_written_files_are_reproducible_and_pass_their_checksums(tmp_path):
    written = write(tmp_path, seed=2)
    assert locate("number_words", tmp_path) == written  # compares every checksum
    first = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert len(first) == 8
    write(tmp_path, seed=2)
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()} == first
    write(tmp_path, seed=3)
    with pytest.raises(ValueError, match=r"train\.en is not the number_words text"):
        locate("number_words", tmp_path)


def test_written_lines_are_the_phrases(tmp_path):
    written, phrases = write(tmp_path, seed=3), generate(3)
    for split, files in written.items():
        assert files["en"].read_text("utf-8").split("\n") == [*(phrase.en for phrase in phrases[split]), ""]
        assert files["de"].read_text("utf-8").split("\n") == [*(phrase.de for phrase in phrases[split]), ""]
