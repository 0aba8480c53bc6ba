"""Universal Dependencies English Web Treebank: annotated blogs, emails, reviews and answers."""

from pathlib import Path

from seqlab.corpora.description import CorpusDescription, Split, TextFile, read_text_file

TEXT_PREFIX = "# text = "

CORPUS = CorpusDescription(
    name="ud_ewt",
    summary="English sentences with parts of speech and dependency syntax",
    source="https://github.com/UniversalDependencies/UD_English-EWT",
    license="CC BY-SA 4.0",
    columns={"sentences": "CoNLL-U: one word per line, with its columns"},
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
    """Write every `every`-th sentence of a CoNLL-U file, which can be gzip-compressed, starting with the first."""
    path, target = Path(path), Path(target)
    sentences = read_text_file(path).removesuffix("\n\n").split("\n\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{lines}\n\n" for lines in sentences[::every]), encoding="utf-8", newline="\n")


def read_sentence_texts(path: str | Path) -> list[str]:
    """Return the original sentences (lines `# text`) of a CoNLL-U file, which can be gzip-compressed."""
    lines = read_text_file(path).splitlines()
    return [line.removeprefix(TEXT_PREFIX) for line in lines if line.startswith(TEXT_PREFIX)]


__all__ = ["CORPUS", "read_sentence_texts", "write_share"]
