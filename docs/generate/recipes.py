"""Reference page of the recipes, from their table."""

from itertools import groupby

from generate.markup import prose, table
from seqlab.cli.recipes import read_table

INTRODUCTION = """# Recipes

A recipe is a complete config: `seqlab train RECIPE`. The minutes are training time on one or two CPU cores. The
[results](../results/README.md) have the command and the machine of each figure. An empty cell means that nothing was
measured. `seqlab recipes WORD` prints the rows that contain a word.

<input class="filter" type="search" data-filter="tbody tr" placeholder="Filter recipes: g2p, lstm, Multi30k ..."
aria-label="Filter recipes">
"""


def pages() -> dict[str, str]:
    """Write the page, with one table per task in the order of the file."""
    header, *rows = read_table()
    task = header.index("task")
    parts = [INTRODUCTION]
    tasks = list(dict.fromkeys(row[task] for row in rows))
    for name, group in groupby(sorted(rows, key=lambda row: tasks.index(row[task])), key=lambda row: row[task]):
        shown = [without(row, task) for row in group]
        cells = [[f"`{recipe}`", *map(prose, others)] for recipe, *others in shown]
        parts += [f"## {name[:1].upper()}{name[1:]}", table(without(header, task), cells)]
    return {"reference/recipes.md": "\n\n".join(parts)}


def without(row: list[str], index: int) -> list[str]:
    """Return a row without one cell."""
    return row[:index] + row[index + 1 :]
