"""Data cards: the `README.md` of a corpus, from whose tables its description is read."""

import re
from collections.abc import Mapping
from pathlib import Path

from seqlab.corpora.description import CorpusDescription, Split, TextFile

HUB_PREFIX = "hub:"
"""Prefix of an address that is a path spec of a Hugging Face dataset."""

Row = list[str]
"""Cells of a row of a table, without the backquotes of a cell that is code."""


def card_path(name: str) -> Path:
    """Return the path of the card of a corpus."""
    return Path(__file__).parent / name / "README.md"


def read_card(name: str) -> CorpusDescription:
    """Read the description of a corpus from the card in its folder.

    A card has a title (the name), a paragraph (the summary), a table of facts, the table `Columns` (column, content)
    and the table `Files` with the columns split, column, file (its possible names, separated by commas), lines, bytes,
    SHA-256 and address. Bytes and SHA-256 are those of the text before compression; a cell that does not apply is
    empty. The address is a URL, followed by the encoding of the file in parentheses unless it is UTF-8, or a path spec
    `hub:NAME:SPLIT#COLUMN`. Other sections are for people only.
    """
    text = card_path(name).read_text(encoding="utf-8")
    title, summary = text.split("\n\n")[:2]
    tables = _tables(text)
    facts = {row[0]: row[1] for row in tables[""]}
    return CorpusDescription(
        name=title.removeprefix("# "),
        summary=" ".join(summary.split()),
        source=facts["source"],
        license=facts["license"],
        columns={row[0]: row[1] for row in tables["Columns"][1:]},
        splits=_splits(tables.get("Files", [])[1:]),
        version=int(facts.get("version", 1)),
        kind=facts["kind"],
        size=facts["size"],
        generator=facts.get("generator"),
        sample=facts.get("sample"),
    )


def how_to_get(name: str) -> str:
    """Return the first paragraph of the section `How to get it` of a card, as one line."""
    section = card_path(name).read_text(encoding="utf-8").partition("## How to get it\n\n")[2]
    return " ".join(section.partition("\n\n")[0].split())


def _tables(text: str) -> Mapping[str, list[Row]]:
    """Return the rows of the table in each section, by its heading; the section before the first heading is "".

    Lines without letters, which separate a header from its rows or are an empty header, are left out.
    """
    tables: dict[str, list[Row]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("|") and line.strip("|-: "):
            cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
            tables.setdefault(heading, []).append([re.sub(r"^`([^`]*)`$", r"\1", cell) for cell in cells])
    return tables


def _splits(rows: list[Row]) -> dict[str, Split]:
    """Return the splits of the table `Files`, in its order."""
    rows_by_split: dict[str, list[Row]] = {}
    for row in rows:
        rows_by_split.setdefault(row[0], []).append(row)
    splits = {}
    for name, split_rows in rows_by_split.items():
        counts = {row[1]: _number(row[3]) or 0 for row in split_rows}
        splits[name] = Split(
            num_lines=counts if len(set(counts.values())) > 1 else next(iter(counts.values())),
            files={row[1]: _file(row) for row in split_rows},
            hub={row[1]: row[6] for row in split_rows if row[6].startswith(HUB_PREFIX)},
        )
    return splits


def _file(row: Row) -> TextFile:
    address, _, encoding = row[6].partition(" (")
    return TextFile(
        names=tuple(name.strip() for name in row[2].split(",")),
        sha256=row[5] or None,
        size=_number(row[4]),
        address=None if not address or address.startswith(HUB_PREFIX) else address,
        encoding=encoding.removesuffix(")") or "utf-8",
    )


def _number(cell: str) -> int | None:
    return int(cell.replace(",", "")) if cell else None
