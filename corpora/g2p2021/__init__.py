"""SIGMORPHON 2021 shared task 1: grapheme-to-phoneme data of six languages, from Wiktionary.

The corpus has five medium-resource languages of the task, and its high-resource language, US English. The splits of a
language have no word in common.
"""

from seqlab.corpora.card import read_card

LANGUAGES = {
    "eng_us": "US English",
    "fre": "French",
    "hun": "Hungarian",
    "kor": "Korean",
    "dut": "Dutch",
    "jpn_hira": "Japanese in hiragana",
}
"""Language code in file names -> name of the language."""

CORPUS = read_card("g2p2021")

__all__ = ["CORPUS", "LANGUAGES"]
