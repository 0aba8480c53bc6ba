"""Number words: English number, date and time phrases and their German translations.

The corpus needs no download: a grammar generates it. The English line determines the German line. Three test splits
distinguish a model that has learned the grammar from one that has memorized lines: `test` (unseen lines),
`test_combinations` (unseen combinations of hundreds and units, see `is_held_out`) and `test_short` (unseen short
phrases: numbers to 1,000, hours, days).
"""

from seqlab.corpora.card import read_card
from seqlab.corpora.number_words.generator import NUM_LINES, generate, is_held_out, write

CORPUS = read_card("number_words")

__all__ = ["CORPUS", "NUM_LINES", "generate", "is_held_out", "write"]
