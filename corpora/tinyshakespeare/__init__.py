"""tinyshakespeare: plays of Shakespeare as one text of 1,115,394 characters, and its usual split."""

from pathlib import Path

from seqlab.corpora.card import read_card
from seqlab.corpora.description import read_text_file

CORPUS = read_card("tinyshakespeare")
TRAIN_SHARE = 0.9
"""Share of the characters in the training split."""


def write_split(path: str | Path, folder: str | Path) -> None:
    """Write `train.txt` and `valid.txt` with the usual split after nine tenths of the characters.

    The file at `path` can be gzip-compressed. The boundary is within a line: the rest of that line is the first line of
    `valid.txt`.
    """
    path, folder = Path(path), Path(folder)
    text = read_text_file(path)
    boundary = int(len(text) * TRAIN_SHARE)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train.txt", text[:boundary]), ("valid.txt", text[boundary:])):
        (folder / name).write_text(part, encoding="utf-8", newline="\n")


__all__ = ["CORPUS", "write_split"]
