"""White space of sources: unusual spaces give the ids of single spaces."""

import pickle
from pathlib import Path

import pytest

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
from seqlab.text.normalization import single_spaces

LINES = [f"line {n} with {n % 7} words" for n in range(200)]
KINDS: dict[str, TokenizerConfig] = {
    "words": WordsConfig(),
    "characters": CharactersConfig(),
    "bpe": BpeConfig(vocab_size=300),
    "sentencepiece_bpe": SentencePieceBpeConfig(vocab_size=300),
    "sentencepiece_unigram": SentencePieceUnigramConfig(vocab_size=300),
}
VARIANTS = [
    *(" line 7 with 3 words", "line 7 with 3 words ", "line  7 with 3   words", "line\t7 with 3 words"),
    *("line\u00a07 with 3 words", "line 7\u202fwith 3 words", "line\u30007 with 3 words", "line 7 with\u20283 words"),
    *(
        "\ufeffline 7 with 3 words",
        "li\u00adne 7 with 3 words",
        "line 7 wi\u200bth 3 words",
        "line 7 with \u20603 words",
    ),
    *(
        "line 7 with 3\u200b \u200bwords",
        "line 7 with 3 words\r",
        "line 7\x0b with 3 words",
        "\u2003line 7 with 3 words",
    ),
    *("\u200eline 7 with 3 words\u200f", "\u202bline 7\u202c with 3 words", "li\0ne 7\x1b with\x7f 3 words"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_spaces_give_the_ids_of_single_spaces(kind: str, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(KINDS[kind], LINES)
    source = tokenizer.with_single_spaces()
    source.save(tmp_path)
    assert not load_tokenizer(tmp_path).has_single_spaces  # targets may share the file
    for each in (source, pickle.loads(pickle.dumps(source))):
        assert each.encode(VARIANTS) == tokenizer.encode(["line 7 with 3 words"]) * len(VARIANTS)
        assert {each.normalize(line) for line in VARIANTS} == {"line 7 with 3 words"}
        assert each.encode(["", " ", "\u00a0", "\ufeff"]) == [[]] * 4
    assert tokenizer.encode([" a\u00a0b"]) == train_tokenizer(KINDS[kind], LINES).encode([" a\u00a0b"])


@pytest.mark.parametrize("line", ["Zwölf", "क्‍ष", "می‌خواهم", "a b", "\u200da"])
def test_joiners_and_single_spaces_are_kept(line: str) -> None:
    assert single_spaces(line) == line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ខ្ញុំ\u200bទៅ\u200b\u200bផ្សារ\u200b។", "ខ្ញុំ ទៅ ផ្សារ ។"),  # Khmer
        ("ผม\u200bใช้\u200bFacebook\u200bทุกวัน", "ผม ใช้ Facebook ทุกวัน"),  # Thai
        ("ສະ\u200bບາຍ\u200b ດີ\u200b", "ສະ ບາຍ ດີ"),  # Lao
        ("မြန်\u00ad\u200bမာ", "မြန် မာ"),  # Burmese
        ("wi\u200bth 3\u200b words", "with 3 words"),
        ("東京\u200bタワー", "東京タワー"),  # no word is divided by spaces in Japanese: the mark is for line breaks
        ("\u200bไทย", "ไทย"),
    ],
)
def test_zero_width_spaces_divide_words_of_scripts_with_spaces_between_phrases(line: str, expected: str) -> None:
    assert single_spaces(line) == expected
    assert single_spaces(f"{line}\tV;PST", has_tags=True) == f"{expected}\tV;PST"


def test_tags_are_kept() -> None:
    tokenizer = train_tokenizer(CharactersConfig(tags=True), ["walk\tV;PST", "go\tV;PRS"])
    source = tokenizer.with_single_spaces()
    assert source.encode([" walk\u200b\tV;PST", "\u00a0go \tV;PRS"]) == tokenizer.encode(["walk\tV;PST", "go\tV;PRS"])
