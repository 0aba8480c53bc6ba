"""Universal Dependencies English Web Treebank: annotated blogs, emails, reviews and answers."""

from pathlib import Path

from seqlab.corpora.card import read_card
from seqlab.corpora.description import read_text_file

TEXT_PREFIX = "# text = "

CORPUS = read_card("ud_ewt")


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
