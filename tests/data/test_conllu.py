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
    (tmp_path / "a.conllu").rename(tmp_path / "a.conllup")
    with pytest.raises(ValueError, match=r"misc\. To name others, start the file with `# global\.columns = ID FORM"):
        list(parse_column(f"{tmp_path}/a.conllup#pos").values())


PLUS = """# global.columns = ID FORM UPOS PARSEME:MWE
1	He	PRON	*
2-3	dunno	_	_
2	do	AUX	*
3	not	PART	1:VPC
3.1	x	_	_
"""


def test_the_first_line_of_conllu_plus_names_the_columns(tmp_path: Path) -> None:
    (tmp_path / "a.conllup").write_text(PLUS)
    read = {name: list(parse_column(f"{tmp_path}/a.conllup#{name}").values()) for name in ("form", "upos")}
    assert read == {"form": ["He do not"], "upos": ["PRON AUX PART"]}
    assert list(parse_column(f"{tmp_path}/a.conllup#parseme:mwe").values()) == ["* * 1:VPC"]
    with pytest.raises(ValueError, match="no column 'xpos': the columns that its first line names are id, form, upos"):
        list(parse_column(f"{tmp_path}/a.conllup#xpos").values())
    (sentence,) = read_sentences(PLUS.splitlines(), "a.conllup")
    assert sentence.with_column(2, ["A", "B", "C"])[3] == "2\tdo\tB\t*"


@pytest.mark.parametrize(
    ("name", "first", "message"),
    [
        ("a.conllu", PLUS.splitlines()[0], r"a\.conllu, line 1: names other columns .* rename the file to \.conllup"),
        ("a.conllup", "# global.columns = FORM ID", "must start with ID and contain FORM"),
        ("a.conllup", "# global.columns = ID UPOS", "must start with ID and contain FORM"),
    ],
)
def test_other_columns_need_the_suffix_of_conllu_plus(name: str, first: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\n".join([first, *PLUS.splitlines()[1:]]))
    with pytest.raises(ValueError, match=message):
        list(parse_column(f"{tmp_path}/{name}#upos").values())


def test_the_standard_columns_may_be_named(tmp_path: Path) -> None:
    names = "# global.columns = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC"
    (tmp_path / "a.conllu").write_text(f"{names}\n{TEXT}")
    assert list(parse_column(f"{tmp_path}/a.conllu#upos").values()) == ["VERB PRON NUM", "", "NOUN"]
