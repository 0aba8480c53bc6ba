"""`seqlab recipes`: a complete table, figures that are in the pages of results, and search by a word."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.cli.recipes import read_table
from seqlab.recipes import RECIPES

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def test_the_table_has_a_row_for_each_recipe() -> None:
    header, *rows = read_table()
    assert header == ["recipe", "task", "model", "data", "minutes", "figure"]
    assert [row[0] for row in rows] == list(RECIPES)
    assert all(len(row) == len(header) and all(row[:4]) for row in rows)


def test_figures_of_the_table_are_in_the_pages_of_results() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md"))
    for name, *_, figure in read_table()[1:]:
        number = re.search(r"\d+\.\d+", figure)
        assert not figure or number is not None, name
        assert number is None or re.search(rf"(?<![\d.]){re.escape(number[0])}(?![\d.])", text), (name, figure)


def test_search_by_a_word_is_case_insensitive(seqlab) -> None:
    result = seqlab("recipes", "FINNISH")
    assert result.status == 0
    [header, *rows] = result.out.decode().splitlines()
    assert header.split() == ["recipe", "task", "model", "data", "minutes", "figure"]
    assert [row.split()[0] for row in rows] == [name for name in RECIPES if "finnish" in name]
    assert all("LSTM" in line for line in seqlab("recipes", " lstm ").out.decode().splitlines()[1:])
    all_lines = seqlab("recipes").out.decode().splitlines()
    assert len(all_lines) == 1 + len(RECIPES)
    records = [json.loads(line) for line in seqlab("recipes", "finnish", "--json").out.decode().splitlines()]
    assert [record["recipe"] for record in records] == [row.split()[0] for row in rows]


def test_error_of_a_word_in_no_row_lists_the_tasks(seqlab) -> None:
    result = seqlab("recipes", "weather")
    assert (result.status, result.out) == (2, b"")
    assert "no recipe matches `weather`; the tasks are translation; " in result.err


@pytest.mark.parametrize("arguments", [["recipes"], ["recipes", "g2p"]])
def test_recipes_command_does_not_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from seqlab.cli.main import main\n"
        f"assert main({arguments!r}) == 0\n"
        "assert not {'torch', 'pydantic', 'numpy', 'seqlab.recipes'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
