"""Free Spoken Digit Dataset: English digits of six speakers, and digit strings that are concatenated from them.

The splits contain the recordings 5 to 49 of each digit and speaker (`SPLITS`). The recordings 0 to 4, which are the
test set of the dataset's authors, are not used. Therefore, results cannot be compared with published ones.
"""

from seqlab.corpora.fsdd.digits import CORPUS, DIGITS, SPEAKERS, SPLITS, write_digits, write_leave_one_out
from seqlab.corpora.fsdd.sample import write_sample
from seqlab.corpora.fsdd.strings import NUM_STRINGS, write_strings

__all__ = [
    "CORPUS",
    "DIGITS",
    "NUM_STRINGS",
    "SPEAKERS",
    "SPLITS",
    "write_digits",
    "write_leave_one_out",
    "write_sample",
    "write_strings",
]
