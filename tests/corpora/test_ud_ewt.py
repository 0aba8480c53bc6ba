"""Original sentences of a CoNLL-U file, and the selection of sentences for speech synthesis."""

import gzip
from pathlib import Path

import pytest

from seqlab.corpora.ud_ewt import read_sentence_texts
from seqlab.recipes.speech import PLAIN_SENTENCE

CONLLU = "# sent_id = 1\n# text = It isn't here.\n1\tIt\tit\n\n# newpar\n# text = Why?\n1\tWhy\twhy\n\n"


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
def test_original_sentences_are_read(name: str, tmp_path: Path) -> None:
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "wt", encoding="utf-8") as file:
        file.write(CONLLU)
    assert read_sentence_texts(tmp_path / name) == ["It isn't here.", "Why?"]


def test_sentences_with_ambiguous_pronunciation_are_not_plain() -> None:
    assert PLAIN_SENTENCE.fullmatch("Well, it isn't here: look again!")
    for text in ("Call 911.", "The FBI came.", "See (a).", "Café", "e-mail me @ home", "a" * 91, ""):
        assert not PLAIN_SENTENCE.fullmatch(text), text
