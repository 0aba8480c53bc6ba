"""Reading and writing of CoNLL-U."""

from pathlib import Path

import pytest

from seqlab.data.columns import parse_column
from seqlab.data.conllu import column_number, read_sentences

TEXT = """# text = vámonos al mar
1-2	vámonos	_	_	_	_	_	_	_	_
1	vamos	ir	VERB	_	_	0	root	_	_
2	nos	nosotros	PRON	_	_	1	obj	_	_
2.1	[nothing]	_	_	_	_	_	_	_	_
3	100 000	100000	NUM	_	_	1	obl	_	_

# only a comment

1	end	end	NOUN	_	_	0	root	_	_
"""


def test_multiword_tokens_and_empty_nodes_are_not_words(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(TEXT, encoding="utf-8")
    form = parse_column(f"{tmp_path}/a.conllu#form")
    assert list(form.values()) == ["vamos nos 100_000", "", "end"]
    assert list(parse_column(f"{tmp_path}/a.conllu#UPOS").values()) == ["VERB PRON NUM", "", "NOUN"]


def test_with_column_changes_only_that_column_of_words() -> None:
    lines = TEXT.splitlines()
    written = []
    for sentence in read_sentences(lines, "a"):
        written += [*sentence.with_column(column_number("upos", "a"), ["X"] * len(sentence.words)), ""]
    assert len(written) == len(lines) + 1  # with an empty line after the last sentence
    for before, after in zip(lines, written, strict=False):
        fields = before.split("\t")
        if fields[0].isdigit():
            fields[3] = "X"
        assert after == "\t".join(fields)


def test_missing_columns_are_filled_in() -> None:
    (sentence,) = read_sentences(["1\tword"], "a")
    assert sentence.with_column(column_number("xpos", "a"), ["NN"]) == ["1\tword\t_\t_\tNN"]


def test_written_sentences_can_be_read_if_columns_were_missing() -> None:
    lines = ["# can't", "1-2\tcan't", "1\tca", "2\tn't", "2.1\t[go]", ""]
    (sentence,) = read_sentences(lines, "a")
    (written,) = read_sentences(sentence.with_column(column_number("upos", "a"), ["AUX", "PART"]), "b")
    assert written.lines == ["# can't", "1-2\tcan't\t_\t_", "1\tca\t_\tAUX", "2\tn't\t_\tPART", "2.1\t[go]\t_\t_"]
    assert written.column(column_number("upos", "b")) == ["AUX", "PART"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\tone\n\nword two\n", r"a\.conllu, line 3: is not a line of CoNLL-U: it has 1 columns"),
        ("1\tone\n2\t \n", r"a\.conllu, line 2: `form` is empty"),
        ("1\n", r"a\.conllu, line 1: is not a line of CoNLL-U"),
        (
            "1\tone\tone\n\n# c\n1\ttwo\n",
            r"a\.conllu, line 4: has 2 columns, separated by tabs, but the first row has 3",
        ),
        ("1x\tone\n", r"a\.conllu, line 1: is not a line of CoNLL-U"),
        ("1\tone\n2 \ttwo\n", r"a\.conllu, line 2: is not a line of CoNLL-U: .*starts with '2 '"),
    ],
)
def test_errors_name_invalid_lines(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.conllu").write_text(text)
    with pytest.raises(ValueError, match=message):
        list(parse_column(f"{tmp_path}/a.conllu#form").values())


def test_errors_name_missing_and_unknown_columns(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text("1\tone\n2\ttwo\n")
    with pytest.raises(ValueError, match=r"line 1: has 2 columns, so `upos` is missing"):
        list(parse_column(f"{tmp_path}/a.conllu#upos").values())
    with pytest.raises(ValueError, match=r"has no column 'pos': the columns of CoNLL-U are id, form"):
        list(parse_column(f"{tmp_path}/a.conllu#pos").values())
