"""IWSLT14 German-English: subtitles of talks, with the splits and preprocessing of fairseq's `prepare-iwslt14.sh`.

Cettolo, Niehues, Stüker, Bentivogli and Federico 2014, "Report on the 11th IWSLT Evaluation Campaign". The script
tokenizes (Moses), lower-cases, removes training pairs that are long or of very different lengths, and uses every 23rd
pair for validation. The test set consists of the test sets of 2010 to 2012 and two development sets.
"""

from seqlab.corpora.card import read_card

CORPUS = read_card("iwslt14")

__all__ = ["CORPUS"]
