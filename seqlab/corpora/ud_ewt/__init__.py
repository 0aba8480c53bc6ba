"""Describe Universal Dependencies' English Web Treebank: blogs, mails, reviews and answers, word by word."""

from pathlib import Path

from seqlab.corpora.description import Corpus, Split, TextFile
from seqlab.corpora.location import read_text

TEXT = "# text = "

CORPUS = Corpus(
    name="ud_ewt",
    summary="English sentences with the parts of speech and the syntax of their words",
    source="https://github.com/UniversalDependencies/UD_English-EWT",
    licence="CC BY-SA 4.0",
    columns={"sentences": "CoNLL-U: a word in each line, with its columns"},
    splits={
        "train": Split(
            num_lines=245_400,
            files={
                "sentences": TextFile(
                    ("train.conllu",), "d6e121ee736f0660046cfcb63d781360ef4b2d5364e43424ec2252757ab1980b"
                )
            },
        ),
        "valid": Split(
            num_lines=31_831,
            files={
                "sentences": TextFile(
                    ("dev.conllu",), "bf2ceb9c6121accd51a618dcf24bf5b7ea75b79a2ab98ff9df1075efda68b1b7"
                )
            },
        ),
    },
)


def write_share(path: str | Path, target: str | Path, every: int) -> None:
    """Write the first and each `every`-th sentence behind it of a CoNLL-U file, which may be gzip-compressed."""
    path, target = Path(path), Path(target)
    sentences = read_text(path).removesuffix("\n\n").split("\n\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{each}\n\n" for each in sentences[::every]), encoding="utf-8", newline="\n")


def read_sentences(path: str | Path) -> list[str]:
    """Return the sentences of a CoNLL-U file, which may be gzip-compressed, as they were written (lines `# text`)."""
    lines = read_text(path).splitlines()
    return [line.removeprefix(TEXT) for line in lines if line.startswith(TEXT)]


__all__ = ["CORPUS", "read_sentences", "write_share"]
