"""Lines of text input and output: control characters and newlines."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.inference.lines import TextCounts, distinct_texts, refuse_newlines, replace_control_characters, write_lines
from seqlab.tasks.translation.translator import ScoredText
from seqlab.text import WordsConfig, train_tokenizer


def test_control_characters_become_spaces() -> None:
    assert replace_control_characters("a\tb\x00c\x85d\x7f") == ("a b c d ", 4)
    assert replace_control_characters("\u2028 äß\u200d") == ("\u2028 äß\u200d", 0)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_write_lines_writes_one_line_per_text(texts: list[str]) -> None:
    stream = io.BytesIO()
    cleaned = [replace_control_characters(text)[0] for text in texts]
    write_lines(stream, cleaned)
    assert stream.getvalue().count(b"\n") == len(texts)
    assert stream.getvalue().decode().split("\n")[:-1] == cleaned


def test_a_line_with_a_newline_is_refused() -> None:
    with pytest.raises(ValueError, match="entry 1 holds a newline"):
        refuse_newlines(["a", "b\n"], "lines")


def test_unknown_words_and_half_characters_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    counts, tokenizer = TextCounts("translations", num_hypotheses=3), train_tokenizer(WordsConfig(), ["a b c"])
    for lines in (["a b", "a x"], ["y x x", ""]):
        counts.add_inputs(tokenizer, lines)
        counts.add_outputs(["a\ufffd\ufffd", "é"])
    counts.add_empty(["a", " ", "b"], ["", "", "c"])
    counts.add_hypotheses([["a", "b"], ["a", "b", "c"]])
    texts = [["a", "\ufffd", "\ufffdb"], ["\ufffd", "c"]]
    counts.add_alternatives([ScoredText(text, 0.0, 0.0, 1, True) for text in n_best] for n_best in texts)
    counts.warn()
    assert caplog.messages == [
        "2 of 4 lines have items that are not in the vocabulary and are read as unknown: 'x', 'y'",
        "1 of 4 translations are empty, although their lines are not",
        "1 of 2 n-best lists have fewer than 3 hypotheses: equal texts are listed once",
        "2 of 4 translations have U+FFFD: the model's output has bytes there that are not a character",
        "2 hypotheses after the best ones have U+FFFD: the model's output has bytes there that are not a character",
    ]


def test_equal_texts_of_an_n_best_list_keep_the_best() -> None:
    n_best = [ScoredText(text, score, 0.0, 1, True) for score, text in ((-1, "b"), (-2, "a"), (-3, "b"), (-4, "c"))]
    assert [(each.text, each.score) for each in distinct_texts(n_best)] == [("b", -1), ("a", -2), ("c", -4)]
