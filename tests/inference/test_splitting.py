"""Splitting of long lines: split positions, joined segments, and no lost text."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.inference.splitting import join_segments, split_line, split_words


def encode(lines: Sequence[str]) -> list[list[int]]:
    """Encode each character except spaces as one id."""
    return [[ord(c) for c in line if not c.isspace()] for line in lines]


def segments_of(line: str, limit: int) -> list[str]:
    return ["".join(map(chr, segment.ids)) for segment in split_line(line, encode([line])[0], limit, encode)]


def test_short_lines_are_one_segment() -> None:
    assert segments_of("One. Two.", 8) == ["One.Two."]
    assert segments_of("", 8) == [""]


def test_lines_are_split_after_the_last_sentence_end() -> None:
    assert segments_of("One. Two! Three four five.", 12) == ["One.Two!", "Threefour", "five."]
    assert segments_of('He said "no." Then he left', 12) == ['Hesaid"no."', "Thenheleft"]
    assert segments_of("第一句。第二句。第三句", 9) == ["第一句。第二句。", "第三句"]


def test_periods_without_a_space_do_not_end_sentences() -> None:
    assert segments_of("costs 3.14159 euro or more", 9) == ["costs", "3.14159", "euroor", "more"]


def test_lines_are_split_at_spaces_else_at_any_character() -> None:
    assert segments_of("aaa bbb ccc", 7) == ["aaabbb", "ccc"]
    assert segments_of("abcdefgh", 3) == ["abc", "def", "gh"]


def test_a_character_with_too_many_ids_is_truncated() -> None:
    def encode_as_four_ids(lines: Sequence[str]) -> list[list[int]]:
        return [[1, 2, 3, 4] * len(line) for line in lines]

    assert [segment.ids for segment in split_line("ab", encode_as_four_ids(["ab"])[0], 3, encode_as_four_ids)] == [
        [1, 2, 3],
        [1, 2, 3],
    ]


def test_segments_are_joined_as_they_were_split() -> None:
    line = "One. Two. Three."
    segments = split_line(line, encode([line])[0], 4, encode)
    assert join_segments(["Eins.", "Zwei.", "Dr", "ei."], segments) == "Eins. Zwei. Drei."
    assert join_segments(["", "Zwei.", "Drei", "."], segments) == "Zwei. Drei."


@pytest.mark.parametrize(
    ("line", "limit", "translations", "joined"),
    [
        ("第一句。第二句。", 4, ["First.", "Second."], "First. Second."),
        ("第一句第二句", 3, ["the first", "the second"], "the first the second"),
        ("One. Two.", 4, ["一。", "二。"], "一。二。"),
        ("one two", 3, ["一", "二"], "一二"),
        ("One. Two.", 4, ["한 문장。", "두 문장"], "한 문장。두 문장"),
        ("One. Two.", 4, ["한.", "두."], "한. 두."),
        ("One. Two.", 4, ["ประโยคแรก", "ประโยคที่สอง"], "ประโยคแรก ประโยคที่สอง"),
        ("one two", 3, ["คำแรก", "คำที่สอง"], "คำแรกคำที่สอง"),
        ("यह है। वह है।", 6, ["This.", "That."], "This. That."),
        ("यह है।वह है।", 6, ["This.", "That."], "This. That."),
        ("abcdefgh", 4, ["ei", "nes"], "eines"),
    ],
)
def test_the_script_of_the_translation_decides_about_spaces(
    line: str, limit: int, translations: list[str], joined: str
) -> None:
    segments = split_line(line, encode([line])[0], limit, encode)
    assert len(segments) == len(translations)
    assert join_segments(translations, segments) == joined


@pytest.mark.parametrize(
    "sentences",
    [
        *(("यह एक है।", "वह दो है।"), ("هل تأتي؟", "نعم آتي۔"), ("Սա է։", "Նա է։"), ("ይህ ነው።", "እሱ ነው።")),
        *(("នេះ គឺ។", "នោះ គឺ៕"), ("བོད་ ཡིག།", "སྐད་ ཆ།"), ("ဒါ က။", "ဟို က။"), ("これは３．１４．", "あれは．")),
    ],
)
@pytest.mark.parametrize("space", [" ", ""])
def test_sentence_ends_of_other_scripts(sentences: tuple[str, str], space: str) -> None:
    line = space.join([*sentences, "ab"])
    limit = len(encode([sentences[0] + sentences[1]])[0]) + 1
    assert segments_of(line, limit)[0] == "".join("".join(sentences).split())
    words = " ".join(sentences).split()
    assert [len(each) for each in split_words([*words, "ab"], len(words))] == [len(words), 1]
    first = sentences[0].split()
    assert len(split_words([*first, "ab", "cd"], len(first) + 1)[0]) == len(first)


@pytest.mark.parametrize(
    ("line", "limit", "segments"),
    [
        ("e\u0301" * 4, 3, ["e\u0301"] * 4),
        ("👨‍👩‍👧👨‍👩‍👧", 8, ["👨‍👩‍👧"] * 2),
        ("🇩🇪🇫🇷", 3, ["🇩🇪", "🇫🇷"]),
        ("👍🏽👍🏽", 3, ["👍🏽", "👍🏽"]),
        ("กำกำ", 3, ["กำ", "กำ"]),
        ("क्षक्ष", 4, ["क्ष", "क्ष"]),
        ("👨‍👩‍👧", 3, ["👨‍👩", "‍👧"]),  # longer than the limit: cut, but not lost
    ],
)
def test_a_character_and_its_marks_are_not_separated(line: str, limit: int, segments: list[str]) -> None:
    assert segments_of(line, limit) == segments


def test_segments_with_word_outputs_are_joined_by_spaces() -> None:
    segments = split_line("abcdefgh", encode(["abcdefgh"])[0], 3, encode, has_words=True)
    assert join_segments(["EY B", "", "G"], segments) == "EY B G"


@given(st.text(alphabet="ab .!?。\t\u2028é", max_size=300), st.integers(1, 40))
def test_nothing_is_lost_and_no_segment_is_too_long(line: str, limit: int) -> None:
    segments = split_line(line, encode([line])[0], limit, encode)
    assert [n for segment in segments for n in segment.ids] == encode([line])[0]
    assert all(len(segment.ids) <= limit for segment in segments)
    assert len(segments) == 1 or all(segment.ids for segment in segments)


def test_splitting_time_is_not_quadratic() -> None:
    sizes = []

    def encode_and_count(lines: Sequence[str]) -> list[list[int]]:
        sizes.append(sum(map(len, lines)))
        return encode(lines)

    line = "word " * 20_000
    split_line(line, encode([line])[0], 50, encode_and_count)
    assert sum(sizes) < 50 * len(line)


def test_words_are_split_only_between_words() -> None:
    def segments(line: str, limit: int) -> list[str]:
        words = line.split(" ")
        return [" ".join(words[i] for i in segment) for segment in split_words(words, limit)]

    assert segments("a b。c d a b c d", 5) == ["a b。c d a b", "c d"]
    assert segments("a b. c d e f", 4) == ["a b.", "c d e f"]
    assert segments('a said: "no." c d', 3) == ['a said: "no."', "c d"]
    assert segments("3.5 b c d", 3) == ["3.5 b c", "d"]
    assert segments("a b", 2) == ["a b"]
    assert split_words([], 2) == []
