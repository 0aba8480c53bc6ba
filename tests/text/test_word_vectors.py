"""Reading word vectors in all formats; the files are written byte by byte."""

import gzip
import itertools
import re
import struct
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SentencePieceBpeConfig,
    SentencePieceUnigramConfig,
    TokenizerConfig,
    WordsConfig,
    train_tokenizer,
)
from seqlab.text.word_vectors import Vectors, lookup_word, read_word_vectors

Entries = Sequence[tuple[str, Sequence[float]]]


def glove(entries: Entries) -> bytes:
    return "".join(f"{word} {' '.join(map(repr, values))}\n" for word, values in entries).encode()


def word2vec_text(entries: Entries) -> bytes:
    """Format text like the original program, with a space at the end of each line."""
    return f"{len(entries)} {len(entries[0][1])}\n".encode() + glove(entries).replace(b"\n", b" \n")


def word2vec_binary(entries: Entries, end: bytes = b"\n") -> bytes:
    """Format binary data like the original program or, with an empty `end`, like gensim."""
    rows = [word.encode() + b" " + struct.pack(f"<{len(values)}f", *values) + end for word, values in entries]
    return f"{len(entries)} {len(entries[0][1])}\n".encode() + b"".join(rows)


WRITERS: dict[str, Callable[[Entries], bytes]] = {
    "glove": glove,
    "glove, Windows": lambda entries: glove(entries).replace(b"\n", b"\r\n"),
    "glove, no last newline": lambda entries: glove(entries).removesuffix(b"\n"),
    "glove, byte order mark": lambda entries: b"\xef\xbb\xbf" + glove(entries),
    "word2vec text": word2vec_text,
    "word2vec text, no spaces at the ends": lambda entries: word2vec_text(entries).replace(b" \n", b"\n"),
    "word2vec binary": word2vec_binary,
    "word2vec binary, no newlines": lambda entries: word2vec_binary(entries, end=b""),
}
every_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
ENTRIES = [("the", [0.5, -1.0, 2.0]), ("dog", [1.5, 0.25, 3.0]), ("ran", [-4.0, 0.125, 1.0])]


def draw_entries(words: Iterable[str], dim: int, seed: int = 0) -> list[tuple[str, list[float]]]:
    """Draw a float32 vector for each word; text has enough digits to restore it exactly."""
    rng = np.random.default_rng(seed)
    return [(word, rng.normal(size=dim).astype(np.float32).tolist()) for word in words]


def stack_vectors(entries: Entries, words: Iterable[str]) -> Vectors:
    values = dict(entries)
    return np.array([values[word] for word in words], dtype=np.float32)


def write_file(folder: Path, content: bytes, name: str = "vectors") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["vectors.gz", "vectors.txt", "vectors.bin"])  # only .gz determines the format
@every_format
def test_every_format_is_read_exactly(tmp_path: Path, write: Callable[[Entries], bytes], name: str) -> None:
    entries = draw_entries([f"w{n}" for n in range(3000)], dim=25)  # larger than a block
    wanted = ["w2999", "absent", "w0", *(f"w{n}" for n in range(7, 3000, 10))]
    loaded = read_word_vectors(write_file(tmp_path, write(entries), name), wanted)
    assert loaded.tokens == tuple(token for token in wanted if token != "absent")
    assert loaded.vectors.dtype == np.float32
    np.testing.assert_array_equal(loaded.vectors, stack_vectors(entries, loaded.tokens))
    assert loaded.num_undecodable == 0


words_in_text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" \t\n\r\v\f▁"), min_size=1, max_size=5
).filter(lambda word: lookup_word(word) == word)


@settings(max_examples=40)
@given(words=st.lists(words_in_text, unique=True, min_size=2, max_size=6), dim=st.integers(3, 9), data=st.data())
def test_any_word_is_found_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], dim: int, data: st.DataObject
) -> None:
    entries = draw_entries(words, dim, data.draw(st.integers(0, 2**32)))
    wanted = data.draw(st.permutations(words))
    for write in WRITERS.values():
        loaded = read_word_vectors(write_file(tmp_path_factory.mktemp("any"), write(entries)), wanted)
        assert loaded.tokens == tuple(wanted)
        np.testing.assert_array_equal(loaded.vectors, stack_vectors(entries, wanted))


@every_format
def test_unicode_spaces_and_line_ends_are_parts_of_words(tmp_path: Path, write: Callable[[Entries], bytes]) -> None:
    words = ["1\u00a0000", "a\u0085b", "\u2028", "e\u3000", "."]
    entries = draw_entries(words, dim=4)
    assert read_word_vectors(write_file(tmp_path, write(entries)), words).tokens == tuple(words)


@pytest.mark.parametrize("write", [glove, word2vec_text])
def test_words_in_text_formats_may_contain_spaces(tmp_path: Path, write: Callable[[Entries], bytes]) -> None:
    words = [". . .", "of", "to name@domain.com", ".", "", " "]
    entries = draw_entries(words, dim=5)
    for first in range(len(words) - 2):  # the first line determines the dimension of a GloVe file
        order = entries[first:] + entries[:first]
        loaded = read_word_vectors(write_file(tmp_path, write(order)), ["of", ". . .", ".", "to name@domain.com", "to"])
        assert loaded.tokens == ("of", ". . .", ".", "to name@domain.com")
        np.testing.assert_array_equal(loaded.vectors, stack_vectors(entries, loaded.tokens))


def test_words_may_be_numbers(tmp_path: Path) -> None:
    content = b"7 0.5 1\n1e5 2 -.25\nnan 3. +4E-1\n"
    loaded = read_word_vectors(write_file(tmp_path, content), ["nan", "7", "1e5"])
    assert loaded.vectors.tolist() == np.array([[3, 0.4], [0.5, 1], [2, -0.25]], np.float32).tolist()


@every_format
def test_the_first_vector_of_a_repeated_word_is_used(tmp_path: Path, write: Callable[[Entries], bytes]) -> None:
    path = write_file(tmp_path, write([*ENTRIES, ("dog", [9.0, 9.0, 9.0])]))
    assert read_word_vectors(path, ["dog"]).vectors.tolist() == [[1.5, 0.25, 3.0]]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_lower_case_is_used_only_for_missing_words(tmp_path: Path, order: tuple[int, ...]) -> None:
    entries = [("Apple", [1.0, 0.0]), ("apple", [2.0, 0.0]), ("the", [3.0, 0.0]), ("Paris", [4.0, 0.0])]
    path = write_file(tmp_path, glove([entries[n] for n in order]))
    loaded = read_word_vectors(path, ["Apple", "apple", "APPLE", "The", "the", "paris"])
    assert dict(zip(loaded.tokens, loaded.vectors[:, 0].tolist(), strict=True)) == {
        "Apple": 1.0,
        "apple": 2.0,
        "APPLE": 2.0,
        "The": 3.0,
        "the": 3.0,
    }
    assert (loaded.coverage.num_found, loaded.coverage.num_lower_cased, loaded.coverage.missing) == (5, 2, ("paris",))


@pytest.mark.parametrize(
    ("token", "word", "word_of_subword"),
    [
        ("▁word", "word", "word"),
        ("word", "word", None),
        ("ing", "ing", None),
        ("7", "7", None),
        (",", ",", ","),
        ("▁,", ",", ","),
        ("'s", "'s", None),
        ("▁", None, None),
        ("▁▁", None, None),
        ("▁▁a", None, None),
        ("▁of▁the", None, None),
        ("", None, None),
        ("<pad>", None, None),
        ("<s>", None, None),
        ("</s>", None, None),
        ("<unk>", None, None),
        ("▁<unk>", None, None),
        ("<UNK>", None, None),
        ("<0xE2>", None, None),
        ("<0x20><0xE2>", None, None),
        ("<user>", "<user>", None),
        ("▁<user>", "<user>", "<user>"),
    ],
)
def test_lookup_word_of_tokens_and_subwords(token: str, word: str | None, word_of_subword: str | None) -> None:
    assert lookup_word(token) == word
    assert lookup_word(token, subwords=True) == word_of_subword


@pytest.mark.parametrize(
    "config",
    [SentencePieceBpeConfig(vocab_size=400), SentencePieceUnigramConfig(vocab_size=400), BpeConfig(vocab_size=400)],
    ids=lambda config: config.kind,
)
def test_subwords_at_word_starts_have_the_vectors_of_words(tmp_path: Path, config: TokenizerConfig) -> None:
    lines = ["the dog walked, and the cat walks", "walking the dogs, talking cats"] * 20
    tokenizer = train_tokenizer(config, lines)
    tokens = tokenizer.tokens(range(tokenizer.vocab_size))
    counts = Counter(itertools.chain(*map(tokenizer.tokens, tokenizer.encode(lines))))
    entries = draw_entries(["the", "dog", "s", "ing", ",", "<unk>", "</s>", "<s>"], dim=3)
    loaded = read_word_vectors(
        write_file(tmp_path, word2vec_text(entries)), {token: counts[token] for token in tokens}, subwords=True
    )
    assert {"▁dog", ","} <= set(loaded.tokens) <= {"▁the", "▁dog", ",", "▁s", "▁,"}
    np.testing.assert_array_equal(
        loaded.vectors, stack_vectors(entries, [token.removeprefix("▁") for token in loaded.tokens])
    )
    assert loaded.coverage.num_wanted == len(set(tokens)) - 4
    assert loaded.coverage.running_share == sum(counts[token] for token in loaded.tokens) / counts.total()


@pytest.mark.parametrize("config", [WordsConfig(), CharactersConfig()], ids=lambda config: config.kind)
def test_tokens_of_word_and_character_tokenizers_have_vectors(tmp_path: Path, config: TokenizerConfig) -> None:
    tokenizer = train_tokenizer(config, ["a dog , a cat"])
    entries = draw_entries(["a", "cat", ",", "<unk>", "▁", " "], dim=3)
    loaded = read_word_vectors(write_file(tmp_path, glove(entries)), tokenizer.tokens(range(tokenizer.vocab_size)))
    assert set(loaded.tokens) == ({"a", "cat", ","} if isinstance(config, WordsConfig) else {"a", ","})


def test_coverage_agrees_with_counting(tmp_path: Path) -> None:
    text = re.findall(r"\S+", "the cat saw the dog and The dog ran from the cat <unk> <unk> and ran")
    loaded = read_word_vectors(write_file(tmp_path, glove(ENTRIES)), Counter(text))
    covered = [token for token in text if token.lower() in {"the", "dog", "ran"}]
    ordinary = [token for token in text if token != "<unk>"]
    coverage = loaded.coverage
    assert (coverage.num_found, coverage.num_wanted) == (len(set(covered)), len(set(ordinary)))
    assert coverage.vocabulary_share == len(set(covered)) / len(set(ordinary))
    assert coverage.running_share == len(covered) / len(ordinary)
    assert coverage.missing == ("cat", "and", "saw", "from")  # 2, 2, 1 and 1 times; ties are in the order of the text
    assert str(coverage) == (
        "vectors for 4 of 8 tokens (50.0%), 1 of them in lower case only, 57.1% of the running text; "
        "without one: cat, and, saw, from"
    )


def test_coverage_without_counts_or_with_many_missing_words_is_formatted(tmp_path: Path) -> None:
    path = write_file(tmp_path, glove(ENTRIES))
    assert str(read_word_vectors(path, ["dog", "dog"]).coverage) == (
        "vectors for 1 of 1 tokens (100.0%), 0 of them in lower case only"
    )
    loaded = read_word_vectors(path, [f"no{n}" for n in range(12)])
    assert (loaded.vectors.shape, loaded.tokens, loaded.coverage.running_share) == ((0, 3), (), None)
    assert str(loaded.coverage).endswith("without one: no0, no1, no2, no3, no4, no5, no6, no7, no8, no9, ...")
    assert read_word_vectors(path, {"dog": 0}).coverage.running_share is None


def test_words_of_a_binary_file_that_are_not_utf8_are_skipped_and_counted(tmp_path: Path) -> None:
    content = word2vec_binary([("the", [1.0, 2.0]), ("caf#", [3.0, 4.0]), ("é#", [5.0, 6.0]), ("dog", [7.0, 8.0])])
    loaded = read_word_vectors(
        write_file(tmp_path, content.replace(b"#", b"\xe9")), ["dog", "caf\ufffd", "caf", "the", "é"]
    )
    assert loaded.tokens == ("dog", "the")
    assert loaded.vectors.tolist() == [[7.0, 8.0], [1.0, 2.0]]
    assert loaded.num_undecodable == 2


def test_a_token_with_an_unpaired_surrogate_is_missing(tmp_path: Path) -> None:
    assert read_word_vectors(write_file(tmp_path, glove(ENTRIES)), ["\ud800", "dog"]).coverage.missing == ("\ud800",)


@pytest.mark.parametrize("write", [glove, word2vec_binary], ids=["text", "binary"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, write: Callable[[Entries], bytes]) -> None:
    values = np.random.default_rng(0).normal(size=200).tolist()
    path = write_file(tmp_path, write([(f"w{n}", values) for n in range(5000)]))
    assert path.stat().st_size > 4e6
    tracemalloc.start()
    try:
        read_word_vectors(path, ["w1", "w4999"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6


BINARY = word2vec_binary(ENTRIES)  # 4 bytes, then 3 words of 3 letters, a space, 12 bytes and a newline: 17 each
INVALID_FILES = {
    "empty": (b"", r"vectors: is empty"),
    "no values": (b"the\ndog\n", r"vectors, line 1: must be `count dim` or a word and its values, but is 'the"),
    "too few": (
        b"the 1 2 3\ndog 1 2\n",
        r"vectors, line 2: must be a word and 3 values, .* has 2 values .*: 'dog 1 2'",
    ),
    "too many": (b"the 1 2 3\ndog 1 2 3 4\n", r"vectors, line 2: must be a word and 3 values, .* has 4 values"),
    "an empty line": (b"the 1 2 3\n\ndog 1 2 3\n", r"vectors, line 2: must be a word and 3 values, .* has 0 values"),
    "another dim than the first lines": (b"a 1 2\nb 1 2\nc 1\n", r"vectors, line 3: must be a word and 2 values"),
    "too few after a header": (b"2 3\nthe 1 2\ndog 1 2 3\n", r"vectors, line 2: must be a word and 3 values, .* has 2"),
    "cut off": (glove(ENTRIES)[:-7], r"vectors, line 3: must be a word and 3 values"),
    "fewer lines than declared": (b"3 2\nthe 1 2\ndog 1 2\n", r"line 1 declares 3 words, but 2 follow"),
    "more lines than declared": (b"1 2\nthe 1 2\ndog 1 2\n", r"line 1 declares 1 words, but 2 follow"),
    "a header without words": (b"3 2\n", r"line 1 declares 3 words, but 0 follow"),
    "a header of 0 words": (b"0 2\n", r"vectors, line 1: declares 0 words of 2 values"),
    "tabs": (b"the\t1 2\n", r"vectors, line 1: must be a word and 2 values, separated by spaces, .*: 'the\\t1 2'"),
    "no number": (b"the 1 2 3\ndog 1 x 3\n", r"vectors, line 2: value 2 must be a number, but is 'x'"),
    "two spaces": (b"the 1 2 3\ndog 1  3\n", r"vectors, line 2: value 2 must be a number, but is ''"),
    "no number after a header": (b"1 3\ndog 1 2 x\n", r"vectors, line 2: value 3 must be a number, but is 'x'"),
    "nan": (b"the 1 2 3\ndog 1 2 nan\n", r"vectors, line 2: value 3 must be finite in float32, but is nan"),
    "too large": (b"the 1 2 3\ndog 1e39 2 3\n", r"vectors, line 2: value 1 must be finite in float32, but is inf"),
    "not UTF-8": (b"the 1 2\ncaf\xe9 1 2\n", r"vectors, line 2: not UTF-8 \(byte 0xe9 at position 4\)"),
    "not UTF-8 after a header": (b"1 2\ncaf\xe9 1 2\n", r"vectors, line 2: not UTF-8 \(byte 0xe9 at position 4\)"),
    "binary, cut off": (
        BINARY[:-2],
        r"vectors, word 3 of 3 \(byte 39\): must be a word, a space and 12 bytes, but is not",
    ),
    "binary, words missing": (BINARY[:38], r"vectors, word 3 of 3 \(byte 39\): must be a word, a space"),
    "binary, wrong dim": (BINARY.replace(b"3 3", b"3 2", 1), r"continues after the 3 words of 2 values"),
    "binary, more words": (BINARY.replace(b"3 3", b"2 3", 1), r"continues after the 2 words of 3 values"),
    "binary, no words": (b"9 9\n" + bytes(10**4), r"vectors, word 1 of 9 \(byte 5\): must be a word, a space"),
    "binary, nan": (
        word2vec_binary([("the", [1.0, 2.0]), ("dog", [1.0, np.nan])]),
        r"vectors, word 2 of 2 \(byte 18\): value 2 must be finite in float32, but is nan",
    ),
    "compressed": (gzip.compress(glove(ENTRIES)), r"vectors, line 1: must be .* must be compressed by gzip .* in \.gz"),
}


@pytest.mark.parametrize(("content", "message"), INVALID_FILES.values(), ids=INVALID_FILES)
def test_invalid_files_raise_errors_with_their_location(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_word_vectors(write_file(tmp_path, content), ["dog"])


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"no gzip"])
def test_damaged_gzip_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vectors.gz"
    path.write_bytes(damage(gzip.compress(glove(ENTRIES))))
    with pytest.raises(ValueError, match=r"vectors\.gz: cannot be unpacked"):
        read_word_vectors(path, ["dog"])


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_word_vectors(tmp_path / "nothing", ["dog"])
    with pytest.raises(ValueError, match="is a folder"):
        read_word_vectors(tmp_path, ["dog"])


@pytest.mark.parametrize("wanted", [[], ["<s>", "<pad>"]])
def test_an_empty_list_of_words_is_refused(tmp_path: Path, wanted: list[str]) -> None:
    with pytest.raises(ValueError, match=f"`wanted` must have a token .* has {len(wanted)} tokens"):
        read_word_vectors(write_file(tmp_path, glove(ENTRIES)), wanted)


def test_errors_for_long_lines_name_the_line_number(tmp_path: Path) -> None:
    entries = [*draw_entries(map(str, range(30_000)), dim=3), ("x" * (17 << 20), [1.0, 2.0, 3.0])]
    for write, line in ((glove, 30_001), (word2vec_text, 30_002)):
        (tmp_path / "vectors.txt").write_bytes(write(entries))
        with pytest.raises(ValueError, match=rf"vectors\.txt, line {line}: is longer than 16,777,216 bytes"):
            read_word_vectors(tmp_path / "vectors.txt", {"1"})
