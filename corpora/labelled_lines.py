"""Conversion of lines that start with a label to a table of two columns."""

from pathlib import Path

from seqlab.corpora.description import read_text_file


def write_label_table(path: str | Path, target: str | Path) -> None:
    """Convert each line `label sentence` of a file, which can be gzip-compressed, to `label<TAB>sentence`.

    Raises:
        ValueError: a line has no space, or has a tab; the message has the file and the line.
    """
    path, target = Path(path), Path(target)
    lines = read_text_file(path).removesuffix("\n").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        label, space, sentence = line.partition(" ")
        if not space or "\t" in line:
            raise ValueError(f"{path}, line {number}: must be a label, a space and a sentence without tabs.")
        rows.append(f"{label}\t{sentence}\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(rows), encoding="utf-8", newline="\n")
