"""Penn Treebank for language modeling: Mikolov's version, with a vocabulary of 10,000 words.

Marcus, Santorini and Marcinkiewicz 1993, "Building a Large Annotated Corpus of English", as prepared by Mikolov et al.
2010, "Recurrent neural network based language model": lower case, no punctuation, `N` for numbers and `<unk>` for rare
words.
"""

from seqlab.corpora.card import read_card

CORPUS = read_card("ptb")

__all__ = ["CORPUS"]
