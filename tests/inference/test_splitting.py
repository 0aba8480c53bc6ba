"""Splitting of long lines: where they are split, and that nothing is lost."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from seqlab.inference.splitting import join_segments, split_line, split_words


def encode(lines: Sequence[str]) -> list[list[int]]:
    """One id per character except spaces: easy to count."""
    return [[ord(c) for c in line if not c.isspace()] for line in lines]


def pieces_of(line: str, limit: int) -> list[str]:
    return ["".join(map(chr, piece.ids)) for piece in split_line(line, encode([line])[0], limit, encode)]


def test_short_lines_are_one_segment() -> None:
    assert pieces_of("One. Two.", 8) == ["One.Two."]
    assert pieces_of("", 8) == [""]


def test_lines_are_split_after_the_last_sentence_end() -> None:
    assert pieces_of("One. Two! Three four five.", 12) == ["One.Two!", "Threefour", "five."]
    assert pieces_of('He said "no." Then he left', 12) == ['Hesaid"no."', "Thenheleft"]
    assert pieces_of("第一句。第二句。第三句", 9) == ["第一句。第二句。", "第三句"]


def test_periods_without_a_space_do_not_end_sentences() -> None:
    assert pieces_of("costs 3.14159 euro or more", 9) == ["costs", "3.14159", "euroor", "more"]


def test_lines_are_split_at_spaces_else_at_any_character() -> None:
    assert pieces_of("aaa bbb ccc", 7) == ["aaabbb", "ccc"]
    assert pieces_of("abcdefgh", 3) == ["abc", "def", "gh"]


def test_a_character_with_too_many_ids_is_truncated() -> None:
    def many(lines: Sequence[str]) -> list[list[int]]:
        return [[1, 2, 3, 4] * len(line) for line in lines]

    assert [piece.ids for piece in split_line("ab", many(["ab"])[0], 3, many)] == [[1, 2, 3], [1, 2, 3]]


def test_segments_are_joined_as_they_were_split() -> None:
    line = "One. Two. Three."
    pieces = split_line(line, encode([line])[0], 4, encode)
    assert join_segments(["Eins.", "Zwei.", "Dr", "ei."], pieces) == "Eins. Zwei. Drei."
    assert join_segments(["", "Zwei.", "Drei", "."], pieces) == "Zwei. Drei."
    line = "第一句。第二句。"
    assert join_segments(["A.", "B."], split_line(line, encode([line])[0], 4, encode)) == "A.B."


def test_segments_of_words_are_joined_by_spaces() -> None:
    pieces = split_line("abcdefgh", encode(["abcdefgh"])[0], 3, encode, has_words=True)
    assert join_segments(["EY B", "", "G"], pieces) == "EY B G"


@given(st.text(alphabet="ab .!?。\t\u2028é", max_size=300), st.integers(1, 40))
def test_nothing_is_lost_and_no_segment_is_too_long(line: str, limit: int) -> None:
    pieces = split_line(line, encode([line])[0], limit, encode)
    assert [n for piece in pieces for n in piece.ids] == encode([line])[0]
    assert all(len(piece.ids) <= limit for piece in pieces)
    assert len(pieces) == 1 or all(piece.ids for piece in pieces)


def test_splitting_time_is_not_quadratic() -> None:
    calls = []

    def counting(lines: Sequence[str]) -> list[list[int]]:
        calls.append(sum(map(len, lines)))
        return encode(lines)

    line = "word " * 20_000
    split_line(line, encode([line])[0], 50, counting)
    assert sum(calls) < 50 * len(line)


def test_words_are_split_only_between_words() -> None:
    def pieces(line: str, limit: int) -> list[str]:
        words = line.split(" ")
        return [" ".join(words[i] for i in piece) for piece in split_words(words, limit)]

    assert pieces("a b。c d a b c d", 5) == ["a b。c d a b", "c d"]
    assert pieces("a b. c d e f", 4) == ["a b.", "c d e f"]
    assert pieces('a said: "no." c d', 3) == ['a said: "no."', "c d"]
    assert pieces("3.5 b c d", 3) == ["3.5 b c", "d"]
    assert pieces("a b", 2) == ["a b"]
    assert split_words([], 2) == []
