"""Sentences of a CoNLL-U file as they were written, and which of them synthetic voices speak as they are."""

import gzip
from pathlib import Path

import pytest

from seqlab.corpora.ud_ewt import read_sentences
from seqlab.recipes.speech import PLAIN_SENTENCE

CONLLU = "# sent_id = 1\n# text = It isn't here.\n1\tIt\tit\n\n# newpar\n# text = Why?\n1\tWhy\twhy\n\n"


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
def test_sentences_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "wt", encoding="utf-8") as file:
        file.write(CONLLU)
    assert read_sentences(tmp_path / name) == ["It isn't here.", "Why?"]


def test_what_would_be_spoken_otherwise_is_not_plain() -> None:
    assert PLAIN_SENTENCE.fullmatch("Well, it isn't here: look again!")
    for text in ("Call 911.", "The FBI came.", "See (a).", "Café", "e-mail me @ home", "a" * 91, ""):
        assert not PLAIN_SENTENCE.fullmatch(text), text
