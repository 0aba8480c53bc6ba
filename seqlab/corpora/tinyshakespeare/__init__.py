"""tinyshakespeare: plays of Shakespeare as one text of 1,115,394 characters, and its usual split."""

from pathlib import Path

from seqlab.corpora.description import CorpusDescription, Split, TextFile, read_text_file

CORPUS = CorpusDescription(
    name="tinyshakespeare",
    summary="plays of Shakespeare, 40,000 lines in one text",
    source="https://github.com/karpathy/char-rnn, data/tinyshakespeare",
    license="public domain",
    columns={"text": "lines of plays, with the names of the speakers"},
    splits={
        "all": Split(
            num_lines=40_000,
            files={
                "text": TextFile(("input.txt",), "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed")
            },
        ),
    },
)
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
