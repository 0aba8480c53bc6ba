"""Penn Treebank for language modeling: Mikolov's version, with a vocabulary of 10,000 words.

Marcus, Santorini and Marcinkiewicz 1993, "Building a Large Annotated Corpus of English", as prepared by Mikolov et al.
2010, "Recurrent neural network based language model": lower case, no punctuation, `N` for numbers and `<unk>` for rare
words.
"""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

CORPUS = CorpusDescription(
    name="ptb",
    summary="sentences of the Wall Street Journal, 0.9 million words, with a vocabulary of 10,000",
    source="http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz, folder data",
    license="that of the Penn Treebank, by the Linguistic Data Consortium",
    columns={"text": "tokenized sentences"},
    splits={
        split: Split(num_lines=num_lines, files={"text": TextFile((f"{split}.txt", f"ptb.{split}.txt"))})
        for split, num_lines in (("train", 42_068), ("valid", 3_370), ("test", 3_761))
    },
)

__all__ = ["CORPUS"]
