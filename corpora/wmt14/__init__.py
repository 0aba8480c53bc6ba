"""WMT14 English-German: parliament, web and news; validation is on newstest2013, test on newstest2014.

Bojar and others 2014, "Findings of the 2014 Workshop on Statistical Machine Translation", W14-3302.
"""

from seqlab.corpora.card import read_card

CORPUS = read_card("wmt14")

__all__ = ["CORPUS"]
