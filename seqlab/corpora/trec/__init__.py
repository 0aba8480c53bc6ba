"""Describe TREC's questions: what kind of answer each asks for, of six kinds."""

from seqlab.corpora.description import Corpus, Split, TextFile

CORPUS = Corpus(
    name="trec",
    summary="questions by what they ask for: description, entity, abbreviation, human, location or number (0 to 5)",
    source="https://github.com/harvardnlp/sent-conv-torch, data/TREC.train.all (Li & Roth 2002, as in Kim 2014)",
    licence="research use",
    columns={"labelled": "the label, a space, the tokenised question"},
    splits={
        "all": Split(
            num_lines=5_452,
            files={
                "labelled": TextFile(
                    ("train.txt", "TREC.train.all"), "538c647f6e95b4b9e9fc5bd28d8aaa759680b2b20eab1f80f7a82bfc7ac437c6"
                )
            },
        ),
    },
)

__all__ = ["CORPUS"]
