"""Properties of every kind of tokenizer, on arbitrary Unicode."""

import unicodedata
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

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
from seqlab.text.normalization import normalize, recompose

# Training text with everything that can confuse a tokenizer: markers, escapes, bytes in text form, special tokens.
LINES = [
    "A man rides a horse, and two dogs run.",
    "Ein Mann reitet ein Pferd, und zwei Hunde rennen.",
    "▁ ▁▁ literal ▁markers▁ and \x10escapes \x101 \x100",
    "<s> </s> <pad> <unk> <0x41> Ġ Ċ ⁇ 👩‍👩‍👧 日本語 ﬁ² é e\u0301",
] * 10
SUBWORDS = {
    "sentencepiece_bpe": SentencePieceBpeConfig(vocab_size=450, character_coverage=1.0),
    "sentencepiece_bpe, rare characters as bytes": SentencePieceBpeConfig(vocab_size=350, character_coverage=0.98),
    "sentencepiece_unigram": SentencePieceUnigramConfig(vocab_size=400, character_coverage=1.0),
    "bpe": BpeConfig(vocab_size=400),
}
CLOSED_VOCABULARY = {"characters": CharactersConfig(), "words": WordsConfig()}
KINDS = SUBWORDS | CLOSED_VOCABULARY
TOKENIZERS: dict[str, Tokenizer] = {}


def join_surrogates(line: str) -> str:
    return line.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def get_tokenizer(kind: str) -> Tokenizer:
    if kind not in TOKENIZERS:
        TOKENIZERS[kind] = train_tokenizer(KINDS[kind], LINES)
    return TOKENIZERS[kind]


any_text = st.text(alphabet=st.characters(exclude_characters="\n"), max_size=40)  # surrogates too
difficult_text = st.lists(
    st.sampled_from(
        [*" \t\r\0▁▅\x10019Aaeé", "<s>", "</s>", "<pad>", "<unk>", "<0x41>", "\u2028", "\x85", "\u0301", "👩‍👧"]
    )
).map("".join)
lines = any_text | difficult_text


@pytest.mark.parametrize("kind", SUBWORDS)
@given(line=lines)
@example(line="")
@example(line=" ")
@example(line="  leading, double  and trailing  ")
@example(line="\ufeffbyte order mark")
@example(line="\ud83d\ude00 \ud83d")
def test_subwords_round_trip_any_line(kind: str, line: str) -> None:
    tokenizer = get_tokenizer(kind)
    rows = tokenizer.encode([line])
    expected = unicodedata.normalize("NFC", join_surrogates(line))
    assert tokenizer.decode(rows) == [expected] == [tokenizer.normalize(line)]
    assert all(tokenizer.unk_id < index < tokenizer.vocab_size for index in rows[0])
    assert bool(rows[0]) == bool(line)


@pytest.mark.parametrize("kind", ["sentencepiece_bpe", "sentencepiece_unigram"])
@given(line=lines, seed=st.integers(), strength=st.floats(0, 1, exclude_max=True))
def test_sampled_segmentations_decode_to_the_same_line(kind: str, line: str, seed: int, strength: float) -> None:
    tokenizer = get_tokenizer(kind)
    rows = tokenizer.sample([line], seed=seed, strength=strength)
    assert tokenizer.decode(rows) == [tokenizer.normalize(line)]
    assert all(tokenizer.unk_id < index < tokenizer.vocab_size for index in rows[0])


@given(text=st.lists(lines, min_size=1))
@example(text=["\u2028a\x85b  c ", "  "])
def test_characters_and_words_round_trip_the_text_they_were_trained_on(text: list[str]) -> None:
    text = [*text, " visible\t"]  # lines without a visible character are skipped in training
    characters = train_tokenizer(CharactersConfig(), text)
    words = train_tokenizer(WordsConfig(), text)
    for line in text:
        normalized = unicodedata.normalize("NFC", join_surrogates(line))
        (row,) = words.encode([line])
        assert words.decode([row]) == [" ".join(normalized.split())] == [words.normalize(line)]
        assert words.unk_id not in row
        if line.strip():
            (row,) = characters.encode([line])
            assert characters.decode([row]) == [normalized] == [characters.normalize(line)]
            assert characters.unk_id not in row


@pytest.mark.parametrize("kind", CLOSED_VOCABULARY)
@given(line=lines)
def test_characters_and_words_never_fail_or_return_special_ids(kind: str, line: str) -> None:
    tokenizer = get_tokenizer(kind)
    (row,) = tokenizer.encode([line])
    assert all(tokenizer.unk_id <= index < tokenizer.vocab_size for index in row)
    tokenizer.decode([row])


def test_unknown_items_are_encoded_and_decoded_as_unk() -> None:
    characters = train_tokenizer(CharactersConfig(), ["abc ab"])
    assert characters.encode(["axb"]) == [[4, characters.unk_id, 5]]  # a and b, twice each, come first
    assert characters.decode([[4, characters.unk_id, 5]]) == ["a<unk>b"]
    words = train_tokenizer(WordsConfig(), ["one two"])
    assert words.decode(words.encode([" one \u2028three two "])) == ["one <unk> two"]


@pytest.mark.parametrize("kind", KINDS)
def test_special_ids_are_fixed_and_not_decoded(kind: str) -> None:
    tokenizer = get_tokenizer(kind)
    specials = [tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id]
    assert specials == [0, 1, 2, 3]
    assert tokenizer.tokens(specials) == ["<pad>", "<s>", "</s>", "<unk>"]
    (row,) = tokenizer.encode(["A man"])
    assert tokenizer.decode([[1, *row, 2, 0, 0], [], [2]]) == ["A man", "", ""]
    assert tokenizer.decode([]) == tokenizer.encode([]) == []


@pytest.mark.parametrize("kind", SUBWORDS)
def test_subword_tokenizers_decode_unk_as_empty(kind: str) -> None:
    assert get_tokenizer(kind).decode([[3]]) == [""]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [-1, 1_000_000])
def test_nonexistent_ids_are_refused(kind: str, wrong: int) -> None:
    with pytest.raises(ValueError, match=f"one is {wrong} instead"):
        get_tokenizer(kind).decode([[5], [5, wrong]])
    with pytest.raises(ValueError, match=f"one is {wrong} instead"):
        get_tokenizer(kind).tokens([wrong])


@pytest.mark.parametrize("kind", KINDS)
def test_every_id_has_a_printable_name(kind: str) -> None:
    tokenizer = get_tokenizer(kind)
    names = tokenizer.tokens(range(tokenizer.vocab_size))
    assert all(name and name.isprintable() and " " not in name for name in names)


@pytest.mark.parametrize("kind", SUBWORDS)
def test_tokens_spell_the_line(kind: str) -> None:
    tokenizer = get_tokenizer(kind)
    (row,) = tokenizer.encode(["two dogs run"])
    assert "".join(tokenizer.tokens(row)) == "▁two▁dogs▁run"
    (row,) = tokenizer.encode(["\U0001f9a9"])  # not in the text: its four bytes
    assert "".join(tokenizer.tokens(row)).endswith("<0xF0><0x9F><0xA6><0xA9>")


@pytest.mark.parametrize("kind", KINDS)
def test_encoding_does_not_depend_on_the_batch(kind: str) -> None:
    tokenizer = get_tokenizer(kind)
    assert tokenizer.encode(LINES) == [tokenizer.encode([line])[0] for line in LINES]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("none", "ﬁ e\u0301"),
        ("nfc", "ﬁ \u00e9"),
        ("nfkc", "fi \u00e9"),
        ("nfd", "ﬁ \u00e9"),
        ("nfc+nfd", "ﬁ \u00e9"),
    ],
)
def test_normalization_forms_are_applied(kind: str, form: str, expected: str) -> None:
    settings = {"kind": KINDS[kind].kind, "normalization": form}
    config = TypeAdapter(TokenizerConfig).validate_python(settings)
    tokenizer = train_tokenizer(config, ["ﬁ e\u0301 fi \u00e9"] * 3)
    assert tokenizer.decode(tokenizer.encode(["ﬁ e\u0301"])) == [expected]


def test_nfd_decomposes_and_recomposes_characters() -> None:
    tokenizer = train_tokenizer(CharactersConfig(normalization="nfd"), ["한국 schön"])
    (ids,) = tokenizer.encode(["한 ö"])
    assert len(ids) == 3 + 1 + 2
    assert tokenizer.decode([ids]) == ["한 ö"] == [tokenizer.normalize("한 ö")]


def test_nfc_nfd_encodes_a_character_before_its_parts_and_decodes_it_once() -> None:
    tokenizer = train_tokenizer(CharactersConfig(normalization="nfc+nfd"), ["한국 schön"])
    (ids,) = tokenizer.encode(["한 o\u0308n"])
    assert tokenizer.tokens(ids) == ["한", "ᄒ", "ᅡ", "ᆫ", "▁", "ö", "o", "\u0308", "n"]
    assert tokenizer.decode([ids]) == ["한 ön"] == [tokenizer.normalize("한 o\u0308n")]
    assert tokenizer.decode([ids[1:]]) == ["한 ön"], "a decomposition without its character is composed"
    assert tokenizer.decode([ids[:2]]) == ["한ᄒ"], (
        "parts are dropped only if all of them follow the complete character"
    )


@given(line=lines)
@example(line="e\u0323\u0301 각ᆨ 가ᄀ ö")
@pytest.mark.parametrize("form", ["nfd", "nfc+nfd"])
def test_recompose_undoes_the_decomposition(form: Literal["nfd", "nfc+nfd"], line: str) -> None:
    expected = unicodedata.normalize("NFC", join_surrogates(line))
    assert recompose(normalize(line, form), form) == expected


def test_configs_are_selected_by_their_kind() -> None:
    adapter = TypeAdapter(TokenizerConfig)
    for config in KINDS.values():
        assert adapter.validate_python(adapter.dump_python(config)) == config
    with pytest.raises(ValidationError, match="vocab_sise"):
        adapter.validate_python({"kind": "words", "vocab_sise": 10})
    with pytest.raises(ValidationError, match="min_count"):
        adapter.validate_python({"kind": "sentencepiece_bpe", "min_count": 1})
