"""Lines that begin with their label, as a table of two columns."""

from pathlib import Path

from seqlab.corpora.location import read_text


def write_table(path: str | Path, target: str | Path) -> None:
    """Write `label<TAB>sentence` for each line `label sentence` of a file, which may be gzip-compressed.

    Raises:
        ValueError: a line has no space, or a tab; names the file and the line.
    """
    path, target = Path(path), Path(target)
    lines = read_text(path).removesuffix("\n").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        label, space, sentence = line.partition(" ")
        if not space or "\t" in line:
            raise ValueError(f"{path}, line {number}: must be a label, a space and a sentence without tabs.")
        rows.append(f"{label}\t{sentence}\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(rows), encoding="utf-8", newline="\n")
