"""WikiText: good and featured articles of the English Wikipedia, in two sizes."""

from seqlab.corpora.card import read_card

WIKITEXT2 = read_card("wikitext2")
WIKITEXT103 = read_card("wikitext103")

__all__ = ["WIKITEXT2", "WIKITEXT103"]
