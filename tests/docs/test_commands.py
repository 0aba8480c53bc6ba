"""The commands on the pages: each option of a printed `seqlab` command exists, and each file that a command reads."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqlab.built_in import COMMANDS
from seqlab.cli.completion import TRAINING_COMMANDS
from seqlab.cli.main import find_command
from seqlab.runs.config import Config
from seqlab.runs.fields import list_fields

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PAGES_FOR_USERS = [page for page in PAGES if page.parent.name in ("how_to", "tutorials")]
PREPARATION = r"mkdir|export|seqlab corpora|zcat|\(printf|held_out=|head|tail|python lists|sed -n"
PROGRAM = re.compile(r"[Ss]ave this as\s+`(\w+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
NO_SERVER = "http://127.0.0.1:9"
NAMES = {name for names in COMMANDS.values() for name in names}
FIELDS = {field.key for field in list_fields(Config)}
OPTIONS_OF_FORMATS = {"export": {"quantization"}}
"""Options that depend on the value of another option."""


FILE = re.compile(r"(?<![\w./$<-])(?:\w[\w.-]*/)*[\w-]+\.(?:csv|tsv|txt|jsonl|de|en|conllu|wav|flac|arpa|py|sh)\b")
WRITTEN = r"(?:>>? ?|--(?:output|out|alignment|log_file) |\b(?:cp|mv)\b.* )"
"""What is before the name of a file that a command writes."""
NOT_NAMED = {
    "control.md": {"examples/agent.py"},
    "README.md": {
        "phrases/train.de",
        "phrases/train.en",
        "tones/train.jsonl",
        "tones/test.jsonl",
        "_5.wav",
        "new2.flac",
    },
    "fine_tuning.md": {f"{split}.{side}" for split in ("train", "valid", "test") for side in ("en", "de")},
    "first_translator.md": {"train.en", "train.de", "test.en", "test.de"},
    "large_corpora.md": {"large.de", "large.en"},
    "nightly_pipeline.md": {"missing.de", "inbox/NAME.de", "outbox/NAME.en"},
    "numbers_and_images.md": {"patients.csv", "new_patients.csv", "constraints.txt"},
    "numbers_images_classes.md": {"houses.csv", "new_houses.csv"},
    "speech.md": {
        *{"train.jsonl", "valid.jsonl", "test.jsonl", "three_digits.wav", "nothing.wav"},  # of the tutorial
        *{"recordings/1.wav", "synthetic/train.jsonl"},
    },
    "your_own_encoder.md": {"custom_encoder.py", "houses.csv"},
    "your_own_parts.md": {"custom_objective.py", "training/dates.txt", "test/dates.txt"},
}
"""Page -> files that are missing on purpose, or written by a command or program that does not name them."""


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
                known |= FIELDS if name in TRAINING_COMMANDS else set()
                unknown = {each for each in re.findall(r"(?<!\S)--([\w.-]+)", rest) if each not in known}
                assert not unknown, line


@pytest.mark.parametrize("page", PAGES_FOR_USERS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_files_that_commands_read_are_written_before(page: Path) -> None:
    """The commands on the first page of the how-to pages write files for all of them, which link to it."""
    text = page.read_text("utf-8")
    known = NOT_NAMED.get(page.name, set()) | set(re.findall(r"[Ss]ave this\s+as\s+`([\w./]+)`", text))
    examples: set[str] = set()
    if page.parent.name == "how_to" and page.name != "README.md":
        examples = set(FILE.findall("\n".join(shell_lines(page.parent / "README.md"))))
    for line in shell_lines(page):
        names = FILE.findall(line.partition("  # ")[0])
        known |= {name for name in names if re.search(WRITTEN + re.escape(name), line) or name.startswith("runs/")}
        assert set(names) <= known | examples, line
        assert set(names) <= known or "(README.md#example-files)" in text, line


@pytest.mark.learning
@pytest.mark.parametrize("page", ["how_to/README", "tutorials/labels", "tutorials/language_model", "tutorials/speech"])
def test_example_files_are_made_without_a_network(tmp_path: Path, page: str) -> None:
    """All commands before the first training, and later ones that only prepare files."""
    path = ROOT / "docs" / f"{page}.md"
    lines = [line for line in shell_lines(path) if re.match(r"[^#]*seqlab (?!corpora)", line) is None]
    lines = [line for line in lines if page == "how_to/README" or re.match(PREPARATION, line)]
    for name, program in re.findall(
        r"[Ss]ave this as\s+`(\w+\.py)`:\n\n```python\n(.*?)```", path.read_text("utf-8"), re.S
    ):
        (tmp_path / name).write_text(program, "utf-8")
    script = f'set -e\nseqlab() {{ {sys.executable} -m seqlab "$@"; }}\npython() {{ {sys.executable} "$@"; }}\n'
    lines = [re.sub(r"^mkdir \w+ && cd \w+.*", "", line) for line in lines]
    variables = {name: value for name, value in os.environ.items() if name != "SEQLAB_DATA"}
    variables |= {"PYTHONPATH": str(ROOT), "http_proxy": NO_SERVER, "https_proxy": NO_SERVER}
    command = ["bash", "-c", script + "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    empty = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size == 0]
    assert not empty
