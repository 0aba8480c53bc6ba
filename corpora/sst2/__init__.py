"""SST-2: sentiment of sentences of film reviews; complete sentences only, without the labeled phrases of each."""

from seqlab.corpora.card import read_card

CORPUS = read_card("sst2")

__all__ = ["CORPUS"]
