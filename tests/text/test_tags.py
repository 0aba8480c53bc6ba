"""Tags after a tab: separate ids, and decoding that restores the line."""

from pathlib import Path

import pytest

from seqlab.text import CharactersConfig, WordsConfig, load_tokenizer, train_tokenizer

LINES = ["gehen\tV;PST;3", "Haus\tN;PL", "sehen\tV;PRS", "V"]


@pytest.mark.parametrize("config", [CharactersConfig(tags=True), WordsConfig(tags=True)])
def test_each_tag_is_one_id_after_those_of_the_line(config: CharactersConfig | WordsConfig, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(config, LINES)
    tokenizer.save(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer.tag_ids) == 6 + 1  # and one for unknown tags
    assert tokenizer.tag_ids.stop == tokenizer.vocab_size
    rows = tokenizer.encode(LINES)
    for row, line in zip(rows, LINES, strict=True):
        count = len(line.partition("\t")[2].split(";")) if "\t" in line else 0
        assert [index in tokenizer.tag_ids for index in row] == [False] * (len(row) - count) + [True] * count
    assert rows[0][-3] not in rows[3], "the letter V is not the tag V"
    assert tokenizer.decode(rows) == LINES == [tokenizer.normalize(line) for line in LINES]


def test_tags_are_kept_despite_vocab_size_and_min_count() -> None:
    tokenizer = train_tokenizer(WordsConfig(tags=True, vocab_size=12, min_count=2), [*LINES, "Haus Haus"])
    assert tokenizer.vocab_size == 12
    assert tokenizer.tokens(tokenizer.tag_ids) == ["\\t", "\\t3", "\\tN", "\\tPL", "\\tPRS", "\\tPST", "\\tV"]
    assert tokenizer.unknown_items("Haus Hof\tN;DU") == ["Hof"]
    assert tokenizer.unknown_tags("Haus Hof\tN;DU") == ["DU"]
    (row,) = tokenizer.encode(["Haus Hof\tN;DU"])
    assert row[-1] == tokenizer.tag_ids.start
    assert row.count(tokenizer.unk_id) == 1


def test_unusual_lines_with_tags_are_normalized() -> None:
    tokenizer = train_tokenizer(CharactersConfig(tags=True), LINES)
    assert tokenizer.encode(["\tV;PST", ""]) == [[], []]
    assert tokenizer.normalize("sehen\t V ;; PRS ") == "sehen\tV;PRS"
    assert tokenizer.normalize("sehen\tV\tPRS;3") == "sehen\tV;PRS;3", "several columns of tags"
    assert tokenizer.normalize("sehen\tV PRS") == "sehen\tV;PRS", "a list in JSON"
    assert tokenizer.normalize("sehen\t") == "sehen"


def test_without_tags_a_tab_is_a_character() -> None:
    tokenizer = train_tokenizer(CharactersConfig(), LINES)
    assert len(tokenizer.tag_ids) == 0
    assert tokenizer.decode(tokenizer.encode(LINES)) == LINES
