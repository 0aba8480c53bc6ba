"""CoNLL-SIGMORPHON 2017 shared task 1: inflection of a lemma by morphological features.

The corpus has six of the 52 languages, in the high-resource setting. The test set is not included.
"""

from seqlab.corpora.card import read_card

CORPUS = read_card("inflection2017")
LANGUAGES = tuple(CORPUS.columns)

__all__ = ["CORPUS", "LANGUAGES"]
