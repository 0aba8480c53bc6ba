"""TREC question classification: questions with one of six types of their answers."""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

CORPUS = CorpusDescription(
    name="trec",
    summary="questions by type of answer: description, entity, abbreviation, human, location or number (0 to 5)",
    source="https://github.com/harvardnlp/sent-conv-torch, data/TREC.train.all (Li & Roth 2002, as in Kim 2014)",
    license="research use",
    columns={"labelled": "the label, a space, the tokenized question"},
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
