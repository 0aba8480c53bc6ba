"""Describe the Penn Treebank as language models read it: Mikolov's version, of 10,000 words.

Marcus, Santorini and Marcinkiewicz 1993, "Building a Large Annotated Corpus of English"; as Mikolov et al. 2010,
"Recurrent neural network based language model", prepared it: lower case, no punctuation, `N` for numbers and `<unk>`
for rare words.
"""

from seqlab.corpora.description import Corpus, Split, TextFile

CORPUS = Corpus(
    name="ptb",
    summary="sentences of the Wall Street Journal, 0.9 million words, of which 10,000 are kept apart",
    source="http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz, folder data",
    licence="that of the Penn Treebank, by the Linguistic Data Consortium",
    columns={"text": "sentences, cut into words"},
    splits={
        split: Split(num_lines=num_lines, files={"text": TextFile((f"{split}.txt", f"ptb.{split}.txt"))})
        for split, num_lines in (("train", 42_068), ("valid", 3_370), ("test", 3_761))
    },
)

__all__ = ["CORPUS"]
