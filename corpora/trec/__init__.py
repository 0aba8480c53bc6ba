"""TREC question classification: questions with one of six types of their answers."""

from seqlab.corpora.card import read_card

CORPUS = read_card("trec")

__all__ = ["CORPUS"]
