"""Transcript normalization: idempotent; `plain` keeps only letters, numbers, apostrophes and spaces."""

import sys
import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.cli.evaluate import EvaluateOptions
from seqlab.text.transcripts import TranscriptForm, normalize_transcript

FORMS: tuple[TranscriptForm, ...] = get_args(TranscriptForm)
UNUSUAL_CHARACTERS = (
    "aA\u0130I\u03a3\u00df1\u00bd\u0967\u00e9\u212b'\u2019\u02bc`-\u2014/.,!\U0001f44d"
    " \t\u2028\u00a0\u00ad\u200c\u200d\x00\u0301\u0338\u0345\ufe0f\u093f\u0d4d"
)
"""Letters and numbers, apostrophes and word separators, spaces and invisible characters, marks."""
texts = st.text() | st.text(alphabet=UNUSUAL_CHARACTERS, max_size=12)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Don\u2019t\u2014stop! It\u02bcs  \u2018quoted\u2019", "don't stop it's quoted"),
        ("Rock \u2019n\u2019 roll, the dogs' O'Neill", "rock n roll the dogs o'neill"),
        ("mother-in-law/father \u2212 5", "mother in law father 5"),
        ("It cost $3.50 (50%) @home_", "it cost 3 50 50 home"),
        ("Cafe\u0301 STRASSE \u00df", "caf\u00e9 strasse \u00df"),
        (
            "\u0928\u092e\u0938\u094d\u0924\u0947\u0964",
            "\u0928\u092e\u0938\u094d\u0924\u0947",
        ),  # Devanagari, with its marks
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u4f60\u597d\u4e16\u754c"),
        ("\u0661\u0662 \u00bd \u2167", "\u0661\u0662 \u00bd \u2177"),
        (
            "ok \U0001f44d\U0001f3fd 1\ufe0f\u20e3 x\u0301!\u0301",
            "ok 1 x\u0301",
        ),  # marks that follow deleted characters are deleted
        ("e\u200d\u0301", "\u00e9"),
        (" \t\u2028 ", ""),
    ],
)
def test_plain_keeps_only_words(text: str, plain: str) -> None:
    assert normalize_transcript(text, "plain") == plain


@pytest.mark.parametrize(
    ("text", "plain", "in_version_1"),
    [
        ("3.14", "3 14", "314"),
        ("yes,no", "yes no", "yesno"),
        ("at 12:30, AT&T", "at 12 30 at t", "at 1230 att"),
        ("one.Two", "one two", "onetwo"),
        ("0,5 1234,567", "0 5 1234 567", "05 1234567"),
        ("1,000,000", "1000000", "1000000"),
        ("5 a.m. in the U.S.", "5 am in the us", "5 am in the us"),
        ("col\u00b7legi", "collegi", "collegi"),
        ("ไป\u200bตลาด wi\u200bth", "ไป ตลาด with", "ไปตลาด with"),
        ("\u65e5\u672c\u3001\u8a9e", "\u65e5\u672c\u8a9e", "\u65e5\u672c\u8a9e"),
        ("กัน กำลัง", "กัน กำลัง", "กัน กำลัง"),  # Thai, with its vowels
        ("ខ្មែរ។ក", "ខ្មែរក", "ខ្មែរក"),  # Khmer
        ("ကောင်း", "ကောင်း", "ကောင်း"),  # Burmese
        ("ꀀ、ꀁ", "ꀀꀁ", "ꀀꀁ"),  # Yi
        ("བཀྲ་ཤིས།", "བཀྲ ཤིས", "བཀྲཤིས"),  # syllables of Tibetan
        ("मीन.क", "मीन क", "मीनक"),  # Hindi: a word, no single letter
        ("İL, İL", "il il", "i̇l i̇l"),  # Turkish
    ],
)
def test_plain_merges_no_words_or_numbers(text: str, plain: str, in_version_1: str) -> None:
    assert normalize_transcript(text, "plain") == plain
    assert normalize_transcript(text, "plain", 1) == in_version_1


def test_lower_case_keeps_punctuation() -> None:
    assert (
        normalize_transcript("Don\u2019t  STOP \u2014 \u00c9T\u00c9!", "lower")
        == "don\u2019t stop \u2014 \u00e9t\u00e9!"
    )


def test_none_changes_only_unicode_normal_form_and_spaces() -> None:
    assert normalize_transcript(" Cafe\u0301,\t\u00a0OK!\u2028", "none") == "Caf\u00e9, OK!"


@pytest.mark.parametrize("form", FORMS)
@given(text=texts)
def test_normalization_is_idempotent(form: TranscriptForm, text: str) -> None:
    once = normalize_transcript(text, form)
    assert normalize_transcript(once, form) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == " ".join(once.split())


@pytest.mark.parametrize("form", FORMS)
def test_normalization_is_idempotent_for_every_character(form: TranscriptForm) -> None:
    characters = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Co", "Cs")]
    for start in range(0, len(characters), 1000):
        once = normalize_transcript(" ".join(f"{c}\u0301 a{c}b" for c in characters[start : start + 1000]), form)
        assert normalize_transcript(once, form) == once


@given(texts)
def test_each_form_includes_the_previous_one(text: str) -> None:
    lower, plain = normalize_transcript(text, "lower"), normalize_transcript(text, "plain")
    assert normalize_transcript(normalize_transcript(text, "none"), "lower") == lower
    assert normalize_transcript(lower, "plain") == plain


@given(texts)
def test_plain_text_has_only_words(text: str) -> None:
    for word in normalize_transcript(text, "plain").split(" "):
        assert all(character == "'" or unicodedata.category(character)[0] in "LMN" for character in word)
        assert word == word.strip("'")
        assert "''" not in word
        assert word.lower() == word
        previous = ""
        for character in word:
            if unicodedata.category(character)[0] == "M":
                assert unicodedata.category(previous)[0] in "LM"  # each mark follows a letter or a mark
            previous = character


@given(texts)
def test_plain_text_loses_no_letter(text: str) -> None:
    def letters(line: str) -> list[str]:
        line = "".join(each for each in line if unicodedata.category(each)[0] in "LN" and each != "\u02bc")
        return [each for each in unicodedata.normalize("NFD", line) if unicodedata.category(each)[0] in "LN"]

    assert letters(normalize_transcript(text, "plain")) == letters(normalize_transcript(text, "lower"))


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="`form` must be one of none, lower, plain, but is 'upper' instead"):
        normalize_transcript("a", "upper")  # type: ignore[arg-type]


def test_the_command_line_offers_all_transcript_forms() -> None:
    field = EvaluateOptions.__dataclass_fields__["normalize"]
    assert get_args(field.type) == FORMS
