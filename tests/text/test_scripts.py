"""Clusters of characters, compared with the extended grapheme clusters of the library `regex`; sentence ends."""

import unicodedata

import pytest
import regex

from seqlab.text import CharactersConfig, WordsConfig, train_tokenizer
from seqlab.text.scripts import SENTENCE_ENDS, SPACED_SENTENCE_ENDS, cluster_ends, invisible_variants


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "e\u0301a", "👨‍👩‍👧x", "🇩🇪🇫🇷🇮", "👍🏽a", "नमस्ते", "क्ष", "ខ្ញុំ", "กำ", "ຄຳ", "می‌شود", "각", "❤️a", "1️⃣2"),
        *("ﾀﾞﾊﾟｱ", unicodedata.normalize("NFD", "한국어"), "ᄀᆞᆯ가"),
        "🏴\U000e0067\U000e0062\U000e007fx",
    ],
)
def test_clusters_are_those_of_unicode(text: str) -> None:
    assert cluster_ends(text) == [match.end() for match in regex.finditer(r"\X", text)]


@pytest.mark.parametrize("script", ["Arabic", "Armenian", "Devanagari", "Ethiopic", "Khmer", "Mongolian", "Syriac"])
def test_sentence_ends_are_those_of_unicode(script: str) -> None:
    """Of the sentence terminals whose names begin with the name of their script."""
    marks = (chr(code) for code in range(0x80, 0x10000) if not 0xD800 <= code < 0xE000)
    ends = {each for each in marks if unicodedata.name(each, "").startswith(script.upper())}
    expected = {each for each in ends if regex.match(r"\p{Sentence_Terminal}", each)}
    assert expected
    assert expected <= {*SENTENCE_ENDS, *SPACED_SENTENCE_ENDS}


def test_words_that_differ_in_invisible_characters() -> None:
    words = ["שלום", "שלום\u200f", "ex\u00adample", "example", "\ufeffb", "a\u200b", "می\u200cشود", "میشود"]
    assert invisible_variants(words) == ["ex\u00adample", "שלום\u200f"]


@pytest.mark.parametrize("config", [WordsConfig(), CharactersConfig()])
@pytest.mark.parametrize(
    "text", ["می\u200cشود", "👨‍👩‍👧 🇩🇪", "g\u02bcday o\u2019clock", "١٢٣ १२३", "été 한국어 น้ำ", "İSTANBUL ILIK"]
)
def test_tokenizers_keep_spelling_and_read_both_unicode_forms(
    config: WordsConfig | CharactersConfig, text: str
) -> None:
    tokenizer = train_tokenizer(config, [text])
    (ids,) = tokenizer.encode([text])
    assert tokenizer.decode([ids]) == [text]
    assert tokenizer.encode([unicodedata.normalize("NFD", text)]) == [ids]
