"""Describe the Free Spoken Digit Dataset: English digits by six speakers, and splice strings of digits from it.

The recordings 0 to 4 of each digit and speaker, which the dataset's authors test on, are not used: the splits are made
of the recordings 5 to 49 (`SPLITS`), so that figures here are not comparable with theirs.
"""

from seqlab.corpora.fsdd.digits import CORPUS, DIGITS, SPEAKERS, SPLITS, write_digits, write_leave_one_out
from seqlab.corpora.fsdd.strings import NUM_STRINGS, write_strings

__all__ = [
    "CORPUS",
    "DIGITS",
    "NUM_STRINGS",
    "SPEAKERS",
    "SPLITS",
    "write_digits",
    "write_leave_one_out",
    "write_strings",
]
