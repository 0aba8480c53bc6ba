"""Files with one token a line: sentences, document starts, comments, headers, separators and errors."""

from pathlib import Path

import pytest

from seqlab.data.columns import FileColumn, parse_column
from seqlab.data.conll import first_gap_between_tokens

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

Peter NNP I-NP I-PER
\t
# # O O
Blackburn NNP I-NP I-PER
"""


def values(folder: Path, text: str, column: str, name: str = "a.conll") -> list[str]:
    (folder / name).write_text(text, encoding="utf-8")
    return list(parse_column(f"{folder}/{name}#{column}").values())


def test_sentences_of_conll_2003(tmp_path: Path) -> None:
    assert values(tmp_path, CONLL_2003, "0") == ["EU rejects", "Peter", "# Blackburn"]
    assert values(tmp_path, CONLL_2003, "3") == values(tmp_path, CONLL_2003, "-1") == ["I-ORG O", "I-PER", "O I-PER"]
    assert list(parse_column(f"{tmp_path}/a.conll#0").line_numbers(0, 3)) == [3, 6, 8]


@pytest.mark.parametrize("suffix", ["conll", "iob", "iob2", "bio", "bioes", "conll.gz"])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_columns_are_separated_by_tabs_or_spaces(suffix: str, separator: str, tmp_path: Path) -> None:
    import gzip

    text = "New York\tB-LOC\n" if separator == "\t" else "New B-LOC\nYork I-LOC\n"
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    assert list(parse_column(f"{path}#0").values()) == ["New_York" if separator == "\t" else "New York"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("-DOCSTART- -DOCSTART- O\nDat Pron O\nis V O\n", "Dat is"),  # the Dutch corpus has no empty line after it
        ("# id = 1\nEU\tO\n# newpar\nUN\tO\n", "EU UN"),
        ("#\tn-tv.de vom 26.02.2005\n1\tSchartau\tB-PER\tO\n", "1"),  # GermEval 2014
        ("#obama O\nwins O\n", "#obama wins"),
        ("# 1\nEU O\nUN O\n# O\n", "EU UN #"),  # a comment, and a token
        ("# newpar\n# sent_id = 1\n#\nEU O\n", "EU"),
        ("# O\n1 O\n", "# 1"),  # a token before all others
        ("a DT\n# #\n1 CD\n", "a # 1"),  # the tag of the Penn Treebank
        ("# #\n1 CD\n", "# 1"),
        ("EU O\n# B-X\n1 I-X\n", "EU # 1"),  # a label that no earlier token has
        ("# = # O\nEU is = O\n# id = O\n", "# EU #"),  # not a comment within a sentence
        ("\ufeffEU O\n\ufeff-DOCSTART- O\n\ufeffUN O\n", "EU UN"),  # several files, joined by `cat`
        ("100\u00a0000\tO\n", "100_000"),
        ("100\u00a0000 O\n", "100_000"),
        ("#begin document (bc/cctv); part 000\nEU O -\n\n", "EU"),
    ],
)
def test_lines_that_are_not_tokens_are_left_out(text: str, tokens: str, tmp_path: Path) -> None:
    assert values(tmp_path, text, "0") == [tokens]


def test_tokens_and_labels_have_equal_numbers_and_the_rest_is_counted(tmp_path: Path) -> None:
    """A pound sign of the Penn Treebank is a token like others."""
    text = "# sentence 1\n# 5 CD\na DT\n# #\n67 CD\n\n-DOCSTART- O\n\n# #\n1 CD\n"
    lines = text.splitlines()
    tokens, labels = (values(tmp_path, text, column) for column in ("0", "1"))
    assert (tokens, labels) == (["a # 67", "# 1"], ["DT # CD", "# CD"])
    column = parse_column(f"{tmp_path}/a.conll#0")
    assert isinstance(column, FileColumn)
    assert {note.text: note.count for note in column.scan().notes} == {
        "lines with comments were left out": sum(line.startswith(("# s", "# 5")) for line in lines),
        "lines with `-DOCSTART-` were left out": 1,
    }


def test_a_hashtag_without_its_label_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.conll, line 2: has 1 columns, separated by spaces, but the first"):
        values(tmp_path, "so O\n#happy\nnow O\n", "0")


def test_sentences_may_have_different_numbers_of_columns(tmp_path: Path) -> None:
    """CoNLL-2012 has a column for each verb of a sentence."""
    text = "EU NNP -\nrejects VBZ B\n\n# NNP - -\nUN NNP - -\n#end document\n"
    assert values(tmp_path, text, "1") == ["NNP VBZ", "NNP NNP"]
    with pytest.raises(ValueError, match=r"a\.conll, line 4: has 4 columns, separated by spaces, but the first .* 3"):
        values(tmp_path, text, "-1")


def test_a_header_names_the_columns(tmp_path: Path) -> None:
    text = "token\tlabel\nEU\tB-ORG\n\nUN\tB-ORG\n"
    assert values(tmp_path, text, "token") == ["EU", "UN"]
    assert values(tmp_path, text, "label") == ["B-ORG", "B-ORG"]
    with pytest.raises(ValueError, match=r"line 1: is a header \(token, label\): give the name"):
        values(tmp_path, text, "1")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("EU O\nUN\n", "0", r"a\.conll, line 2: has 1 columns, separated by spaces, but the first token has 2\."),
        ("EU\tO\nUN O\n", "0", r"a\.conll, line 2: has 1 columns, separated by tabs"),
        ("EU O\n", "2", r"a\.conll, line 1: has 2 columns, so there is no column 2\."),
        ("EU O\n", "ner", r"a\.conll, line 1: has no column 'ner', only EU, O: use a number"),
        ("EU\tO\nUN\t \n", "1", r"a\.conll, line 2: column 1 is empty"),
    ],
)
def test_errors_name_the_line(text: str, column: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        values(tmp_path, text, column)


@pytest.mark.parametrize(
    ("rows", "gap"),
    [
        ("a O|b O||c O|d O|", 2),
        ("a O|b O||", None),  # an empty line at the end
        ("a b O O||c O", None),
        ("a O||b O||c O", None),  # single words
        ("a O|b O|" * 150 + "|c O", None),  # one empty line in a list of words
    ],
)
def test_tokens_with_empty_lines_between_sentences(rows: str, gap: int | None) -> None:
    pairs = [(row[: len(row) // 2], row[len(row) // 2 :]) for row in rows.split("|")]
    assert first_gap_between_tokens(pairs) == gap
