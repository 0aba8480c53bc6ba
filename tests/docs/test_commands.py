"""The commands on the pages: each option of a printed `seqlab` command exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqlab.built_in import COMMANDS
from seqlab.cli.main import find_command
from seqlab.runs.config import Config
from seqlab.runs.fields import list_fields

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMES = {name for names in COMMANDS.values() for name in names}
FIELDS = {field.key for field in list_fields(Config)}
OPTIONS_OF_FORMATS = {"export": {"quantization"}}
"""Options that depend on the value of another option."""


def shell_lines(page: Path) -> Iterator[str]:
    """Yield the lines of the blocks with commands, each with its continuation lines."""
    language: str | None = None  # of the block that a line is in
    text = page.read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            language = line.strip().strip("`") if language is None else None
        elif language in ("", "sh", "bash"):
            yield line


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_options_of_printed_commands_exist(page: Path) -> None:
    for line in shell_lines(page):
        for name, rest in re.findall(r"(?:^|[|;(] *|\s)seqlab ([a-z-]+)([^|;&<>]*)", line.partition("  # ")[0]):
            if name in NAMES and "--plugin" not in rest:  # plugins have further fields
                options = {
                    text for action in find_command(name).make_parser()._actions for text in action.option_strings
                }
                known = {text.lstrip("-") for text in options} | OPTIONS_OF_FORMATS.get(name, set())
                known |= FIELDS if name == "train" else set()
                unknown = {each for each in re.findall(r"(?<!\S)--([\w.]+)", rest) if each not in known}
                assert not unknown, line
